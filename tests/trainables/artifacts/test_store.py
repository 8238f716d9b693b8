"""The store: one build for all who ask, nothing damaged is ever used, nothing half is left."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainables.askers import KIND, PATIENCE, WHAT, ask, die_while_building
from trainables.artifacts.store import Artifact, Built, Store, key_of
from trainables.errors import InvalidRequest


def build() -> Built:
    return {"weight": torch.arange(6.0).view(2, 3)}, {"curve": [0.5, 0.25]}


def never() -> NoReturn:
    raise AssertionError("built although it is there")


def obtain(folder: Path, build: Callable[[], Built] = build) -> Artifact:
    return Store(folder).obtain(KIND, WHAT, build)


def files(folder: Path) -> set[str]:
    """Suffixes of all files but the locks."""
    return {file.suffix for file in folder.rglob("*") if file.is_file()} - {".lock"}


def part(folder: Path, suffix: str) -> Path:
    (path,) = folder.glob(f"*{suffix}")
    return path


class TestKey:
    """Names follow from what determines the content."""

    values = st.none() | st.integers() | st.floats(allow_nan=False) | st.text()
    descriptions = st.dictionaries(st.text(), values | st.lists(values), min_size=1)

    @given(descriptions, st.data())
    def test_any_change_changes_the_key(self, what: dict[str, Any], data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(what)))
        value = data.draw(self.values)
        changed = {**what, name: value}
        assert (key_of(changed) == key_of(what)) == (json.dumps(changed) == json.dumps(what))
        fewer = {other: value for other, value in what.items() if other != name}
        assert key_of(fewer) != key_of(what)

    @given(descriptions)
    def test_the_order_in_which_things_are_said_does_not_count(self, what: dict[str, Any]) -> None:
        assert key_of(dict(reversed(what.items()))) == key_of(what)

    def test_keys_are_short_and_safe_in_file_names(self) -> None:
        assert len(key_of(WHAT)) == 20
        assert key_of(WHAT).isalnum()

    def test_the_kind_is_part_of_the_name(self, tmp_path: Path) -> None:
        obtain(tmp_path)
        assert Store(tmp_path).has(KIND, WHAT)
        assert not Store(tmp_path).has("other", WHAT)
        assert not Store(tmp_path).has(KIND, {**WHAT, "seed": 4})


class TestObtaining:
    """Built once, then read."""

    def test_what_was_built_comes_back_from_the_disk(self, tmp_path: Path) -> None:
        built, cached = obtain(tmp_path), obtain(tmp_path, never)
        assert (built.origin, cached.origin) == ("built", "cached")
        assert (built.note, cached.note) == (None, None)
        assert cached.seconds == built.seconds > 0
        for artifact in (built, cached):
            assert torch.equal(artifact.tensors["weight"], torch.arange(6.0).view(2, 3))
            assert artifact.facts == {"curve": [0.5, 0.25]}

    @pytest.mark.parametrize(
        "tensor",
        [
            torch.arange(6).view(2, 3).t(),  # not contiguous
            torch.tensor(7),
            torch.zeros(0, 3),
            torch.tensor([1.5], dtype=torch.float16),
            torch.tensor([1 / 3], dtype=torch.float64),
            torch.tensor([True, False]),
        ],
    )
    def test_tensors_survive_bit_for_bit(self, tmp_path: Path, tensor: torch.Tensor) -> None:
        obtain(tmp_path, lambda: ({"t": tensor}, {}))
        found = obtain(tmp_path, never).tensors["t"]
        assert found.dtype == tensor.dtype
        assert torch.equal(found, tensor)

    def test_an_artifact_is_two_files_and_says_what_it_is(self, tmp_path: Path) -> None:
        obtain(tmp_path)
        assert files(tmp_path) == {".safetensors", ".json"}
        described = json.loads(part(tmp_path, ".json").read_text())
        assert described["kind"] == KIND
        assert described["description"] == WHAT
        checksum = described.pop("sha256")
        content = part(tmp_path, ".safetensors").read_bytes()
        content += json.dumps(described, sort_keys=True).encode()
        assert checksum == hashlib.sha256(content).hexdigest()

    def test_a_builder_that_raises_leaves_nothing_behind(self, tmp_path: Path) -> None:
        def fail() -> NoReturn:
            raise ZeroDivisionError("in the builder")

        with pytest.raises(ZeroDivisionError, match="in the builder"):
            obtain(tmp_path, fail)
        assert files(tmp_path) == set()
        assert not Store(tmp_path).has(KIND, WHAT)
        assert obtain(tmp_path).origin == "built"

    def test_weights_that_cannot_be_written_leave_nothing_behind(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_: int) -> NoReturn:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(InvalidRequest, match="No space left on device"):
            obtain(tmp_path)
        assert files(tmp_path) == set()

    def test_the_folder_is_made_when_it_is_needed(self, tmp_path: Path) -> None:
        obtain(tmp_path / "some" / "where")
        assert Store(tmp_path / "some" / "where").has(KIND, WHAT)

    @pytest.mark.parametrize("inside", ["", "deeper"])
    def test_a_file_in_the_folders_place_is_an_invalid_request(
        self, tmp_path: Path, inside: str
    ) -> None:
        (tmp_path / "file").write_text("in the way")
        folder = tmp_path / "file" / inside
        with pytest.raises(InvalidRequest, match="cannot be used") as caught:
            obtain(folder)
        assert str(folder) in str(caught.value)
        assert "--artifacts" in str(caught.value)
        assert not Store(folder).has(KIND, WHAT)

    def test_an_error_of_the_builders_own_is_not_blamed_on_the_folder(self, tmp_path: Path) -> None:
        def fail() -> NoReturn:
            raise ConnectionResetError("while building")

        with pytest.raises(ConnectionResetError):
            obtain(tmp_path, fail)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def without(name: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        described = json.loads(path.read_text())
        del described[name]
        path.write_text(json.dumps(described))

    return change


DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a bit flips in the weights": (".safetensors", flip_a_bit, "checksum"),
    "the weights are cut off": (".safetensors", cut, "checksum"),
    "the weights are empty": (".safetensors", lambda path: path.write_bytes(b""), "checksum"),
    "the weights are gone": (".safetensors", Path.unlink, "weights are missing"),
    "the description is cut off": (".json", cut, "description is not readable"),
    "the description is empty": (".json", lambda path: path.write_bytes(b""), "not readable"),
    "the description is binary": (".json", lambda path: path.write_bytes(b"\xff\xfe"), "readable"),
    "the description is a list": (".json", lambda path: path.write_text("[1, 2]"), "readable"),
    "the checksum is gone": (".json", without("sha256"), "not readable"),
    "the facts are gone": (".json", without("facts"), "not readable"),
}


class TestDamage:
    """What does not match its checksum is set aside, named and rebuilt."""

    @pytest.mark.parametrize("what", DAMAGE)
    def test_a_damaged_artifact_is_set_aside_named_and_rebuilt(
        self, tmp_path: Path, what: str
    ) -> None:
        suffix, damage, said = DAMAGE[what]
        obtain(tmp_path)
        damaged = part(tmp_path, suffix)
        damage(damaged)
        left = damaged.read_bytes() if damaged.exists() else None
        assert not Store(tmp_path).has(KIND, WHAT)

        rebuilt = obtain(tmp_path)
        assert rebuilt.origin == "rebuilt"
        assert rebuilt.note is not None
        assert said in rebuilt.note
        assert part(tmp_path, ".json").name in rebuilt.note
        assert str(tmp_path / "damaged") in rebuilt.note
        assert torch.equal(rebuilt.tensors["weight"], torch.arange(6.0).view(2, 3))

        aside = {file.suffix: file.read_bytes() for file in (tmp_path / "damaged").iterdir()}
        assert aside.get(suffix) == left
        assert set(aside) | {suffix} == {".safetensors", ".json"}
        assert obtain(tmp_path, never).origin == "cached"
        assert files(tmp_path) == {".safetensors", ".json"}

    def test_facts_that_changed_on_the_disk_are_damage_too(self, tmp_path: Path) -> None:
        obtain(tmp_path)
        described = part(tmp_path, ".json")
        described.write_text(described.read_text().replace("0.25", "9.25"))
        assert obtain(tmp_path).facts == {"curve": [0.5, 0.25]}

    def test_the_note_leads_to_what_was_set_aside(self, tmp_path: Path) -> None:
        obtain(tmp_path)
        cut(part(tmp_path, ".safetensors"))
        note = obtain(tmp_path).note
        assert note is not None
        pattern = Path(note.split("set aside as ")[1])
        assert len(list(pattern.parent.glob(pattern.name))) == 2

    def test_damage_twice_keeps_both(self, tmp_path: Path) -> None:
        for _ in range(2):
            obtain(tmp_path)
            cut(part(tmp_path, ".safetensors"))
        obtain(tmp_path)
        assert len(list((tmp_path / "damaged").glob("*.safetensors"))) == 2

    def test_weights_without_a_description_are_no_artifact(self, tmp_path: Path) -> None:
        """Whoever was killed between the two files left this."""
        obtain(tmp_path)
        part(tmp_path, ".json").unlink()
        assert not Store(tmp_path).has(KIND, WHAT)
        again = obtain(tmp_path)
        assert (again.origin, again.note) == ("built", None)

    def test_a_damaged_artifact_whose_rebuilding_fails_stays_aside(self, tmp_path: Path) -> None:
        def fail() -> NoReturn:
            raise ZeroDivisionError

        obtain(tmp_path)
        cut(part(tmp_path, ".safetensors"))
        with pytest.raises(ZeroDivisionError):
            obtain(tmp_path, fail)
        assert not list(tmp_path.glob("*.safetensors"))
        assert len(list((tmp_path / "damaged").iterdir())) == 2


def test_four_processes_that_ask_at_once_get_one_build(tmp_path: Path) -> None:
    folder, log = tmp_path / "store", tmp_path / "log"
    log.mkdir()
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(4)
    processes = [context.Process(target=ask, args=(folder, log, barrier)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
    assert [process.exitcode for process in processes] == [0] * 4
    assert len((log / "built").read_text().splitlines()) == 1
    answers = [json.loads(file.read_text()) for file in log.glob("asked-*")]
    assert sorted(origin for origin, _ in answers) == ["built", "cached", "cached", "cached"]
    assert len({tuple(weight) for _, weight in answers}) == 1
    assert files(folder) == {".safetensors", ".json"}


def test_a_builder_that_is_killed_locks_nobody_out(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=die_while_building, args=(tmp_path,))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == 9
    assert obtain(tmp_path).origin == "built"
