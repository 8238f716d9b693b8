"""Files of weights: what they say of their model, and how a file that is none is refused."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from trainables.artifacts import materials
from trainables.errors import DataError, InvalidRequest
from trainables.models import catalogue
from trainables.models.weights import Weights, inspect
from trainables.scenario import NO_DATASET, Places, Scenario
from trainables.workbench import Workbench, save_model

MODELS = [
    ("allcnn", (1, 8, 8), 3, 0.25),
    ("allcnn", (3, 20, 28), 5, 1.0),
    ("vgg16", (3, 32, 32), 10, 1.0),
    ("resnet9", (1, 28, 28), 7, 1.0),
    ("vgg16", (1, 8, 8), 4, 0.25),
    ("resnet9", (3, 8, 8), 3, 0.125),
]


def saved(
    path: Path,
    name: str = "allcnn",
    shape: tuple[int, int, int] = (1, 8, 8),
    classes: int = 3,
    width: float = 0.25,
    seed: int = 0,
) -> Path:
    """A file of a freshly initialised model's weights."""
    save_model(catalogue.build(name, shape, classes, width, seed), path, shape[1:])
    return path


def refusal(path: Path) -> str:
    """The one line that a file is refused with as soon as it is looked at."""
    with pytest.raises(DataError) as caught:
        inspect(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize(("name", "shape", "classes", "width"), MODELS)
def test_a_saved_model_says_what_it_takes_and_gives(
    tmp_path: Path, name: str, shape: tuple[int, int, int], classes: int, width: float
) -> None:
    weights = inspect(saved(tmp_path / "model.safetensors", name, shape, classes, width))
    assert (weights.channels, weights.num_classes) == (shape[0], classes)
    assert weights.width(name) == width
    assert weights.image_size(None) == shape[1:]
    model = catalogue.build(name, shape, classes, width, seed=0)
    assert weights.shapes == {key: tuple(value.shape) for key, value in model.state_dict().items()}
    catalogue.check_weights(name, shape, classes, weights.width(name), weights)


@given(width=st.floats(0.02, 3.0))
def test_the_width_of_any_allcnn_is_found_such_that_its_weights_fit(width: float) -> None:
    with torch.device("meta"):
        model = catalogue.build("allcnn", (1, 8, 8), 3, width, seed=0)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    weights = Weights(Path("some.safetensors"), shapes, {}, "")
    catalogue.check_weights("allcnn", (1, 8, 8), 3, weights.width("allcnn"), weights)


def test_a_size_that_is_given_wins_over_the_noted_one(tmp_path: Path) -> None:
    weights = inspect(saved(tmp_path / "model.safetensors"))
    assert weights.image_size((16, 20)) == (16, 20)
    assert weights.image_size(None) == (8, 8)


@pytest.mark.parametrize("note", [None, "", "8", "[8]", "[8, 8, 8]", "[null, 8]", "large"])
def test_a_file_without_a_size_needs_one(tmp_path: Path, note: str | None) -> None:
    path = tmp_path / "model.safetensors"
    state = catalogue.build("allcnn", (1, 8, 8), 3, 0.25, seed=0).state_dict()
    save_file(state, path, metadata=None if note is None else {"image_size": note})
    with pytest.raises(InvalidRequest) as caught:
        inspect(path).image_size(None)
    assert str(path) in str(caught.value)
    assert "--image-size" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert inspect(path).image_size((8, 8)) == (8, 8)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.safetensors")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"These are not the weights that you are looking for.\n" * 50,
        (2).to_bytes(8, "little") + b"[]",
        (4).to_bytes(8, "little") + b"null",
        (13).to_bytes(8, "little") + b'{"a": [1, 2]}',
        (8).to_bytes(8, "little") + b'{"a": 1}',
        (14).to_bytes(8, "little") + b'{"\xff\xfe": null}',
        (2**63).to_bytes(8, "little") + b"{}",
    ],
    ids=["empty", "short", "text", "list", "null", "lists", "numbers", "no UTF-8", "huge header"],
)
def test_a_file_that_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert "not a safetensors file" in refusal(path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path, share: float) -> None:
    whole = saved(tmp_path / "whole.safetensors").read_bytes()
    header = int.from_bytes(whole[:8], "little")
    assert 8 + header < 0.5 * len(whole), "some end within the tensors"
    path = tmp_path / "cut.safetensors"
    path.write_bytes(whole[: int(share * len(whole))])
    refusal(path)


def test_a_file_without_our_tensors_is_refused_when_it_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"conv1.weight": torch.zeros(4, 3, 3, 3), "fc.weight": torch.zeros(2, 4)}, path)
    weights = inspect(path)
    for ask in (
        lambda: weights.channels,
        lambda: weights.num_classes,
        lambda: weights.width("allcnn"),
    ):
        with pytest.raises(DataError) as caught:
            ask()
        message = str(caught.value)
        assert message.startswith(f"{path}: has no ")
        assert len(message.splitlines()) == 1


def test_the_fingerprint_follows_from_the_content_alone(tmp_path: Path) -> None:
    first = inspect(saved(tmp_path / "first.safetensors"))
    again = inspect(saved(tmp_path / "again.safetensors"))
    assert first.fingerprint == again.fingerprint
    assert len(first.fingerprint) == 16
    assert int(first.fingerprint, 16) >= 0
    others = {
        inspect(saved(tmp_path / "seed.safetensors", seed=1)).fingerprint,
        inspect(saved(tmp_path / "size.safetensors", shape=(1, 8, 9))).fingerprint,
    }
    changed = bytearray((tmp_path / "first.safetensors").read_bytes())
    changed[-1] ^= 1
    (tmp_path / "bit.safetensors").write_bytes(changed)
    others.add(inspect(tmp_path / "bit.safetensors").fingerprint)
    assert len(others | {first.fingerprint}) == 4


def test_notes_are_read_as_they_were_written(tmp_path: Path) -> None:
    notes = inspect(saved(tmp_path / "model.safetensors")).notes
    assert json.loads(notes["image_size"]) == [8, 8]


def misfit(
    path: Path,
    name: str,
    shape: tuple[int, int, int] = (1, 8, 8),
    classes: int = 3,
    width: float = 0.25,
) -> str:
    """The one line that weights are refused with for this model."""
    with pytest.raises(DataError) as caught:
        catalogue.check_weights(name, shape, classes, width, inspect(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: does not fit {name} (")
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize("name", catalogue.MODELS)
def test_weights_are_refused_for_all_but_their_own_model(tmp_path: Path, name: str) -> None:
    widths = {"allcnn": 0.25, "vgg16": 1.0, "resnet9": 1.0}
    path = saved(tmp_path / "model.safetensors", name, width=widths[name])
    for other in catalogue.MODELS:
        if other != name:
            misfit(path, other, width=widths[other])
    catalogue.check_weights(name, (1, 8, 8), 3, widths[name], inspect(path))
    message = misfit(path, name, classes=5, width=widths[name])
    assert "classifier.weight is of shape (3, " in message
    assert "not (5, " in message
    message = misfit(path, name, shape=(3, 8, 8), width=widths[name])
    assert ", 1, 3, 3), not (" in message


def test_weights_of_another_width_are_refused_with_both_shapes(tmp_path: Path) -> None:
    message = misfit(saved(tmp_path / "model.safetensors"), "allcnn", width=0.5)
    assert "features.0.0.weight is of shape (24, 1, 3, 3), not (48, 1, 3, 3)" in message


def test_weights_without_running_statistics_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    state = catalogue.build("allcnn", (1, 8, 8), 3, 0.25, seed=0).state_dict()
    del state["features.3.1.running_var"]
    save_file(state, path)
    assert "features.3.1.running_var is missing" in misfit(path, "allcnn")


@pytest.mark.parametrize(
    "tensors",
    [
        {"features.0.weight": torch.zeros(3), "classifier.weight": torch.zeros(3, 3)},
        {"features.0.weight": torch.zeros(3, 3, 3, 3), "classifier.weight": torch.tensor(1.0)},
    ],
    ids=["a vector", "a number"],
)
def test_tensors_of_our_names_without_our_dimensions_are_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "other.safetensors"
    save_file(tensors, path)
    with pytest.raises(DataError) as caught:
        assert [inspect(path).channels, inspect(path).num_classes]
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_written_anew_in_its_place_is_read_anew(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.safetensors")
    before = inspect(path)
    after = inspect(saved(path, shape=(1, 8, 9), classes=5, seed=1))
    assert (after.num_classes, after.image_size(None)) == (5, (8, 9))
    assert after.fingerprint != before.fingerprint


def raw_file(path: Path, header: str | bytes, values: bytes = b"") -> Path:
    """A file with this header, whatever it says."""
    text = header.encode() if isinstance(header, str) else header
    path.write_bytes(len(text).to_bytes(8, "little") + text + values)
    return path


def entry(shape: Any, offsets: Any, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    ("tensors", "size"),
    [
        ({"a": entry([1], [0, 8]), "b": entry([1], [4, 8])}, 8),
        ({"a": entry([1], [0, 4]), "b": entry([1], [0, 4])}, 4),
        ({"a": entry([1], [0, 4]), "b": entry([1], [8, 12])}, 12),
        ({"a": entry([1], [4, 8])}, 8),
        ({"a": entry([1], [0, 4])}, 8),
        ({"a": entry([2], [0, 4])}, 4),
        ({"a": entry([-1], [4, 0])}, 0),
        ({"a": entry([-1, -1], [0, 4])}, 4),
        ({"a": entry([2**62, 4], [0, 4])}, 4),
        ({"a": entry([2**31, 2**31, 4], [0, 0])}, 0),
        ({"a": entry([1.0], [0, 4])}, 4),
        ({"a": entry([True], [0, 4])}, 4),
        ({"a": entry("1", [0, 4])}, 4),
        ({"a": entry([1], [0, 4, 4])}, 4),
        ({"a": entry([1], ["0", "4"])}, 4),
        ({"a": entry([1], [0, 4], "F31")}, 4),
        ({"a": entry([1], [0, 4], ["F32"])}, 4),
        ({"a": entry([1] * 10_000, [0, 4])}, 4),
        ({"a": {"dtype": "F32"}}, 0),
        ({"a": None}, 0),
        ({"a": entry([1], [0, 4]), "__metadata__": {"image_size": [8, 8]}}, 4),
        ({"a": entry([1], [0, 4]), "__metadata__": "notes"}, 4),
        ({"\ud800": entry([1], [0, 4])}, 4),
        ({}, 0),
    ],
)
def test_a_header_that_cannot_be_true_is_refused(
    tmp_path: Path, tensors: dict[str, Any], size: int
) -> None:
    path = raw_file(tmp_path / "model.safetensors", json.dumps(tensors), bytes(size))
    assert "not a safetensors file" in refusal(path)


@pytest.mark.parametrize(
    "header",
    [
        '{"a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}, "a": {"dtype": "F32", '
        '"shape": [], "data_offsets": [0, 4]}}',
        '{"a": {"dtype": "F32", "dtype": "I32", "shape": [], "data_offsets": [0, 4]}}',
        '{"a": {"dtype": "F32", "shape": [], "data_offsets": [0, ' + "9" * 5_000 + "]}}",
        '{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 4]}}',
        ' {"a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}',
        '{"a": ' + "[" * 100_000,
        '"a"',
        '{"a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}'.encode("utf-16"),
    ],
    ids=["twice", "twice inside", "digits", "NaN", "space", "deep", "text", "UTF-16"],
)
def test_a_header_that_is_no_plain_table_is_refused(tmp_path: Path, header: str | bytes) -> None:
    path = raw_file(tmp_path / "model.safetensors", header, bytes(4))
    assert "not a safetensors file" in refusal(path)


SHAPES = st.lists(st.integers(0, 3), max_size=2)
WIDTHS = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8, "I64": 8, "BOOL": 1}


@given(
    st.lists(st.tuples(st.sampled_from([*WIDTHS]), SHAPES), min_size=1, max_size=3),
    st.sampled_from(["nothing", "begin", "end", "dimension", "type", "size"]),
    st.one_of(st.integers(-9, 9), st.integers(-(2**70), 2**70)),
)
def test_what_is_taken_is_read_by_safetensors_too_and_nothing_else_is_taken(
    tmp_path_factory: pytest.TempPathFactory,
    tensors: list[tuple[str, list[int]]],
    moved: str,
    by: int,
) -> None:
    header, size = {}, 0
    for index, (dtype, shape) in enumerate(tensors):
        bytes_of_it = math.prod(shape) * WIDTHS[dtype]
        header[str(index)] = entry(shape, [size, size + bytes_of_it], dtype)
        size += bytes_of_it
    if moved in ("begin", "end"):
        header["0"]["data_offsets"][moved == "end"] += by
    elif moved == "dimension":
        header["0"]["shape"] = [*header["0"]["shape"], by]
    elif moved == "type":
        header["0"]["dtype"] = list(WIDTHS)[by % len(WIDTHS)]
    elif moved == "size":
        size = max(0, size + by % 5)
    path = tmp_path_factory.mktemp("any") / "model.safetensors"
    raw_file(path, json.dumps(header), bytes(size))
    try:
        expected = {name: tuple(value.shape) for name, value in load_file(path).items()}
    except Exception:
        refusal(path)
    else:
        assert inspect(path).shapes == expected


def test_a_device_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "endless"
    path.symlink_to("/dev/zero")
    assert "cannot be read" in refusal(path)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "pickle"])
@pytest.mark.parametrize("name", ["base.pth", "base.safetensors"])
def test_a_file_of_torch_save_is_not_unpickled_and_how_to_convert_it_is_said(
    tmp_path: Path, old: bool, name: str
) -> None:
    path = tmp_path / name
    state = catalogue.build("allcnn", (1, 8, 8), 3, 0.25, seed=0).state_dict()
    torch.save(state, path, _use_new_zipfile_serialization=not old)
    told = refusal(path)
    assert "torch.save" in told
    assert f'torch.load("{name}", map_location="cpu", weights_only=True)' in told
    assert "safetensors.torch.save_file" in told


def changed(path: Path, **changes: Any) -> Path:
    """A file of weights, with these tensors (dots as double underscores) in place of its own."""
    state = catalogue.build("allcnn", (1, 8, 8), 3, 0.25, seed=0).state_dict()
    named = {name.replace("__", "."): value for name, value in changes.items()}
    save_file({k: v for k, v in {**state, **named}.items() if v is not None}, path)
    return path


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        catalogue.check_weights("allcnn", (1, 8, 8), 3, 0.25, inspect(path))
    told = str(caught.value)
    assert told.startswith(f"{path}: ")
    assert len(told.splitlines()) == 1
    return told


FIRST = (24, 1, 3, 3)


def one(value: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Weights of the first convolution, one of which has this value."""
    weight = torch.zeros(FIRST, dtype=torch.float64)
    weight[5, 0, 1, 1] = value
    return weight.to(dtype)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"extra__weight": torch.zeros(2)}, "extra.weight is left over"),
        ({"features__8__0__weight": torch.zeros(2)}, "features.8.0.weight is left over"),
        ({"two\nlines": torch.zeros(2)}, "'two\\nlines' is left over"),
        ({"classifier__bias": None}, "classifier.bias is missing"),
        ({"classifier__bias": torch.zeros(4)}, "classifier.bias is of shape (4,), not (3,)"),
        ({"features__0__0__weight": one(0).int()}, "features.0.0.weight is of type I32"),
        ({"features__0__0__weight": one(0).bool()}, "features.0.0.weight is of type BOOL"),
        (
            {"features__0__0__weight": one(1).to(torch.float8_e4m3fn)},
            "features.0.0.weight is of type F8_E4M3; possible: F16, BF16, F32, F64",
        ),
        ({"features__0__0__weight": one(math.nan)}, "features.0.0.weight is not finite"),
        ({"features__0__0__weight": one(-math.inf)}, "features.0.0.weight is not finite"),
        *(
            (
                {"features__0__0__weight": one(value, kind)},
                "features.0.0.weight is not finite",
            )
            for kind in (torch.float16, torch.bfloat16, torch.float64)
            for value in (math.nan, math.inf)
        ),
        (
            {"features__0__0__weight": one(1e39, torch.float64)},
            "features.0.0.weight is beyond what float32 holds",
        ),
        (
            {"features__2__1__running_var": torch.full((48,), -1e-9)},
            "features.2.1.running_var is a variance below 0",
        ),
        (
            {"features__2__1__num_batches_tracked": torch.tensor(3.0)},
            "features.2.1.num_batches_tracked is of type F32",
        ),
    ],
)
def test_what_cannot_be_weights_is_refused_with_file_and_tensor(
    tmp_path: Path, changes: dict[str, Any], wrong: str
) -> None:
    assert wrong in refused(changed(tmp_path / "base.safetensors", **changes))


def test_finite_weights_of_any_floating_type_are_taken_and_converted(tmp_path: Path) -> None:
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        path = changed(
            tmp_path / "base.safetensors",
            features__0__0__weight=one(-1.5, kind),
            features__2__1__running_mean=torch.full((48,), -2.0, dtype=kind),
            features__2__1__num_batches_tracked=torch.tensor(7, dtype=torch.int32),
        )
        scenario = Scenario(
            dataset=NO_DATASET, weights=str(path), image_shape=(1, 8, 8), num_classes=3, forget=(1,)
        )
        places = Places(data=tmp_path, artifacts=tmp_path / str(kind))
        base = Workbench(scenario, places, torch.device("cpu")).base.state_dict()
        assert base["features.0.0.weight"].dtype == torch.float32
        assert torch.equal(base["features.0.0.weight"], one(-1.5))
        assert base["features.2.1.running_mean"].tolist() == [-2.0] * 48
        assert base["features.2.1.num_batches_tracked"].item() == 7


@pytest.mark.parametrize("name", catalogue.MODELS)
def test_a_file_that_fits_another_of_our_models_is_told_which(tmp_path: Path, name: str) -> None:
    width = 0.25 if name == "allcnn" else 1.0
    path = saved(tmp_path / "model.safetensors", name, width=width)
    other = "vgg16" if name == "allcnn" else "allcnn"
    narrow = " --width 0.25" if name == "allcnn" else ""
    told = misfit(path, other, width=inspect(path).width(other))
    assert f"it fits {name} (--model {name}{narrow}) of 3 classes and 1 channels" in told
    if name == "allcnn":
        assert "it fits allcnn (--model allcnn --width 0.25)" in misfit(path, "allcnn", width=0.5)


def test_a_file_that_fits_none_of_our_models_is_told_the_layouts(tmp_path: Path) -> None:
    path = changed(tmp_path / "base.safetensors", extra__weight=torch.zeros(2))
    assert "possible layouts: allcnn, vgg16 and resnet9" in refused(path)
    save_file({"conv1.weight": torch.zeros(4, 3, 3, 3), "fc.weight": torch.zeros(2, 4)}, path)
    with pytest.raises(DataError, match="possible layouts: allcnn, vgg16 and resnet9"):
        _ = inspect(path).channels


@pytest.mark.parametrize(
    ("prefix", "by"),
    [
        ("module.", "DataParallel"),
        ("_orig_mod.", "torch.compile"),
        ("module._orig_mod.", "DataParallel and torch.compile"),
    ],
)
def test_a_prefix_is_named_and_how_to_take_it_off(tmp_path: Path, prefix: str, by: str) -> None:
    path = tmp_path / "wrapped.safetensors"
    state = catalogue.build("allcnn", (1, 8, 8), 3, 0.25, seed=0).state_dict()
    save_file({prefix + name: value for name, value in state.items()}, path)
    with pytest.raises(DataError) as caught:
        _ = inspect(path).channels
    assert str(caught.value).count(f"{prefix!r} ({by})") == 1
    assert len(str(caught.value).splitlines()) == 1
    assert f"{prefix!r} ({by})" in refused(path)
    (code,) = re.findall(r"{name\.removeprefix.*?items\(\)}", refused(path))
    stripped = eval(code, {"load_file": load_file, "FILE": path})  # what it says does it
    save_file(stripped, path)
    catalogue.check_weights("allcnn", (1, 8, 8), 3, 0.25, inspect(path))


def test_a_file_that_changes_between_two_looks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "base.safetensors")
    before = inspect(path)
    saved(path, seed=1)
    monkeypatch.setattr(materials, "inspect", lambda _: before)
    scenario = Scenario(
        dataset=NO_DATASET, weights=str(path), image_shape=(1, 8, 8), num_classes=3, forget=(1,)
    )
    bench = Workbench(scenario, Places(data=tmp_path, artifacts=tmp_path), torch.device("cpu"))
    with pytest.raises(DataError, match="was changed while it was read"):
        bench.prepare("base")
