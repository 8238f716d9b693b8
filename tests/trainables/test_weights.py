"""Files of weights: what they say of their model, and how a file that is none is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from trainables import models
from trainables.errors import DataError, InvalidRequest
from trainables.weights import Weights, inspect
from trainables.workbench import save_model

MODELS = [
    ("allcnn", (1, 8, 8), 3, 0.25),
    ("allcnn", (3, 20, 28), 5, 1.0),
    ("vgg16", (3, 32, 32), 10, 1.0),
    ("resnet9", (1, 28, 28), 7, 1.0),
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
    save_model(models.build(name, shape, classes, width, seed), path, shape[1:])
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
    model = models.build(name, shape, classes, width, seed=0)
    assert weights.shapes == {key: tuple(value.shape) for key, value in model.state_dict().items()}
    models.check_weights(name, shape, classes, weights.width(name), weights)


@given(width=st.floats(0.02, 3.0))
def test_the_width_of_any_allcnn_is_found_such_that_its_weights_fit(width: float) -> None:
    with torch.device("meta"):
        model = models.build("allcnn", (1, 8, 8), 3, width, seed=0)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    weights = Weights(Path("some.safetensors"), shapes, {}, "")
    models.check_weights("allcnn", (1, 8, 8), 3, weights.width("allcnn"), weights)


def test_a_size_that_is_given_wins_over_the_noted_one(tmp_path: Path) -> None:
    weights = inspect(saved(tmp_path / "model.safetensors"))
    assert weights.image_size((16, 20)) == (16, 20)
    assert weights.image_size(None) == (8, 8)


@pytest.mark.parametrize("note", [None, "", "8", "[8]", "[8, 8, 8]", "[null, 8]", "large"])
def test_a_file_without_a_size_needs_one(tmp_path: Path, note: str | None) -> None:
    path = tmp_path / "model.safetensors"
    state = models.build("allcnn", (1, 8, 8), 3, 0.25, seed=0).state_dict()
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
        models.check_weights(name, shape, classes, width, inspect(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: does not fit {name} (")
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize("name", models.MODELS)
def test_weights_are_refused_for_all_but_their_own_model(tmp_path: Path, name: str) -> None:
    widths = {"allcnn": 0.25, "vgg16": 1.0, "resnet9": 1.0}
    path = saved(tmp_path / "model.safetensors", name, width=widths[name])
    for other in models.MODELS:
        if other != name:
            misfit(path, other, width=widths[other])
    models.check_weights(name, (1, 8, 8), 3, widths[name], inspect(path))
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
    state = models.build("allcnn", (1, 8, 8), 3, 0.25, seed=0).state_dict()
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
