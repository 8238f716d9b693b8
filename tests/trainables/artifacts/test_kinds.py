"""Kinds as declarations: what follows from them, and what it takes to add one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from trainables.access import Access
from trainables.artifacts import kinds
from trainables.artifacts.kind import Asked, Description, Kind, Parts
from trainables.artifacts.kinds import KINDS, describe, kind_of, staged, wanted
from trainables.artifacts.materials import Origin
from trainables.artifacts.store import Artifact, Built
from trainables.errors import DataError
from trainables.scenario import NO_DATASET, Places, Scenario
from trainables.workbench import Workbench

CPU = torch.device("cpu")
ORIGIN = Origin(dataset="d", weights=None, image_shape=(1, 8, 8))


# A toy kind, as it would stand in a file of its own: how much each class moves with the base model.


def _settings(name: str, scenario: Scenario, origin: Origin) -> Description:
    return {"class": int(name.removeprefix("sway ")), "forget": list(scenario.forget)}


def _wanted(asked: Asked) -> list[str]:
    return [f"sway {label}" for label in range(2)] if Access.RETAIN in asked.needs else []


def _build(parts: Parts, name: str) -> Built:
    label = int(name.removeprefix("sway "))
    base, images = parts.load("base"), parts.materials.dataset.train.of((label,)).images
    with torch.inference_mode():
        return {"sway": base(images).std(dim=0)}, {"images": len(images)}


def _load(parts: Parts, name: str, artifact: Artifact) -> Tensor:
    if not artifact.facts["images"]:
        raise DataError(f"{name} is of no image")
    return artifact.tensors["sway"].to(parts.materials.device)


SWAY = Kind("sway", 1, _settings, _wanted, _build, _load, follows=("base",), called="sway ")


@pytest.fixture(autouse=True)
def with_the_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its line in the list."""
    monkeypatch.setattr(kinds, "KINDS", (*KINDS, SWAY))


@pytest.fixture
def own(tmp_path: Path, places: Places) -> Places:
    """The session's data, artifacts of the test's own."""
    return replace(places, artifacts=tmp_path / "artifacts")


@pytest.fixture
def brief(scenario: Scenario) -> Scenario:
    return replace(scenario, epochs=1)


NEEDS = frozenset({Access.RETAIN})


class TestToy:
    def test_it_has_its_place_among_what_trials_need(self, bench: Workbench) -> None:
        plain = [["base", "retrained"], ["reference"]]
        assert bench.prerequisites(frozenset()) == plain
        assert bench.prerequisites(NEEDS) == [plain[0], ["reference", "sway 0", "sway 1"]]

    def test_its_key_follows_from_what_it_declares(self, scenario: Scenario) -> None:
        def described(name: str, **changes: object) -> tuple[str, Description]:
            return describe(name, replace(scenario, **changes), ORIGIN)  # type: ignore[arg-type]

        kind, plain = described("sway 0")
        assert kind == "sway"
        assert described("sway 0", evaluation_seed=1, gan_steps=3) == (kind, plain)
        for other in (
            described("sway 1"),
            described("sway 0", forget=(2,)),
            described("sway 0", epochs=1),  # of the base model
        ):
            assert other[1] != plain

    def test_it_is_built_stored_and_found(self, brief: Scenario, own: Places) -> None:
        bench = Workbench(brief, own, CPU)
        assert not bench.is_prepared("sway 1")
        assert bench.prepare("sway 1")["origin"] == "built"
        assert not bench.is_prepared("sway 0")
        assert len(list(own.artifacts.glob("sway-*.safetensors"))) == 1
        assert len(list(own.artifacts.glob("base-*.safetensors"))) == 1, "what it follows from"
        images = bench.dataset.train.of((1,)).images
        base = bench.base
        with torch.inference_mode():
            expected = base(images).std(dim=0)
        later = Workbench(brief, own, CPU)
        assert later.is_prepared("sway 1")
        assert torch.equal(later.shelf.load("sway 1"), expected)
        assert later.shelf.load("sway 1") is later.shelf.load("sway 1")
        assert later.prepare("sway 1")["origin"] == "cached"

    def test_what_it_cost_counts_for_who_needs_it(self, brief: Scenario, own: Places) -> None:
        bench = Workbench(brief, own, CPU)
        costs = [bench.prepare(f"sway {label}")["seconds"] for label in range(2)]
        for each in (bench, Workbench(brief, own, CPU)):
            assert each.prepare_seconds(NEEDS) == pytest.approx(sum(costs))
            assert each.prepare_seconds(frozenset()) == 0

    def test_other_machines_get_it(
        self, brief: Scenario, own: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "shared").mkdir()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "here"))
        shared = f"file://{tmp_path}/shared"
        here = Workbench(brief, replace(own, artifacts=shared), CPU)  # type: ignore[arg-type]
        assert here.prepare("sway 0")["origin"] == "built"
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "there"))
        there = Workbench(brief, replace(own, artifacts=shared), CPU)  # type: ignore[arg-type]
        assert there.is_prepared("sway 0")
        assert there.prepare("sway 0")["origin"] == "cached"
        assert list((tmp_path / "there").rglob("sway-*.safetensors"))
        assert not list((tmp_path / "there").rglob("base-*")), "nothing else was needed"
        assert torch.equal(there.shelf.load("sway 0"), here.shelf.load("sway 0"))

    def test_a_damaged_one_is_rebuilt_to_the_same(self, brief: Scenario, own: Places) -> None:
        Workbench(brief, own, CPU).prepare("sway 0")
        (file,) = own.artifacts.glob("sway-*.safetensors")
        before = file.read_bytes()
        file.write_bytes(before[:-1])
        bench = Workbench(brief, own, CPU)
        assert not bench.is_prepared("sway 0")
        told = bench.prepare("sway 0")
        assert told["origin"] == "rebuilt"
        assert file.stem in told["note"]
        assert file.read_bytes() == before

    def test_one_that_is_of_no_use_is_refused_where_it_is_asked_for(
        self, brief: Scenario, own: Places, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        empty = replace(SWAY, build=lambda *_: ({"sway": torch.zeros(3)}, {"images": 0}))
        monkeypatch.setattr(kinds, "KINDS", (*KINDS, empty))
        bench = Workbench(brief, own, CPU)
        for _ in range(2):
            for ask in (bench.prepare, bench.shelf.load):
                with pytest.raises(DataError, match="sway 0 is of no image"):
                    ask("sway 0")

    def test_a_kind_can_be_trained_as_one_computation(
        self, brief: Scenario, own: Places, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trained: list[tuple[str, ...]] = []

        def network(*names: str) -> Sequence[nn.Module]:
            trained.append(names)
            return [nn.Identity() for _ in names]

        def build(parts: Parts, name: str) -> Built:
            parts.trained(name, lambda: network(name)[0])
            return {"sway": torch.zeros(3)}, {"images": 1}

        joined = replace(SWAY, build=build, together=lambda _, names: network(*names))
        monkeypatch.setattr(kinds, "KINDS", (*KINDS, joined))
        bench = Workbench(brief, own, CPU)
        names = [f"sway {label}" for label in range(4)]
        assert bench.trained_together(["base", *names, "log"]) == [["base"], names, ["log"]]
        bench.prepare(names[2])
        found = bench.prepare_together(names)
        assert [found[name]["origin"] for name in names] == ["built", "built", "cached", "built"]
        assert trained == [("sway 2",), ("sway 0", "sway 1", "sway 3")]


ALL = Asked(Scenario(), 10, frozenset(Access), ("anamnesis", "synthetic"), 5)


@pytest.mark.parametrize("gan", ["dcgan", "wgan-gp", "cgan"])
def test_each_artifact_is_of_one_kind_and_comes_after_what_it_is_built_from(gan: str) -> None:
    scenario = replace(Scenario(), gan=gan)
    names = wanted(replace(ALL, scenario=scenario))
    assert len(set(names)) == len(names) == 5 + (1 if gan == "cgan" else 10) + 5 + 2 + 2
    stages = staged(names, scenario)
    assert sorted(chain(*stages)) == sorted(names)
    place = {name: index for index, stage in enumerate(stages) for name in stage}
    for name in names:
        (kind,) = [each for each in kinds.KINDS if each.has(name) and each.serves(scenario)]
        for other in (*kind.follows, *kind.after):
            assert place[other] < place[name]
        for other in kind.beside:
            assert place[other] > place[name], "what makes the one makes the other"
    assert kind_of(names[6], scenario).name in (gan, "kegnet")


def test_what_a_wanted_one_is_built_from_is_wanted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nobody else asks for it."""
    further = replace(
        SWAY, name="further", called="", follows=("sway 3",), wanted=lambda _: ["further"]
    )
    monkeypatch.setattr(kinds, "KINDS", (further, SWAY, *KINDS))
    nothing = Scenario(dataset=NO_DATASET, weights="w", image_shape=(1, 8, 8), num_classes=10)
    names = wanted(Asked(nothing, 10))
    assert sorted(names) == ["base", "further", "sway 3"]
    assert staged(names, nothing) == [["base"], ["sway 3"], ["further"]]


def test_a_name_of_no_kind_is_said() -> None:
    for name in ("bases", "gan", "sway"):
        with pytest.raises(KeyError, match=name):
            kind_of(name, Scenario())
