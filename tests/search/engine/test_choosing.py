"""How many trials share a place where the study leaves it open."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from search.definition.reading import validate
from search.definition.resolving import resolve
from search.definition.spec import StudySpec
from search.engine import fusing
from search.engine.allotment import Allotment
from search.engine.fusing import MARGIN, MOST, fitting, together
from tests.search.toys import NOWHERE
from trainables.errors import InvalidRequest
from trainables.models import catalogue
from trainables.training.memory import training_bytes

SHAPE = (1, 8, 8)
MODEL = catalogue.build("allcnn", SHAPE, 10, 0.25, 0)
TAKES = partial(training_bytes, MODEL, SHAPE)


def spec(**values: Any) -> StudySpec:
    return resolve(validate({"resources": {"fuse": "auto"}, **values}), NOWHERE)


def test_training_takes_weights_four_times_and_outputs_twice() -> None:
    """Of a network that can be counted by hand: 2x3 and 4 weights; outputs of 3 and 4 numbers."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 3, bias=False), nn.Linear(3, 4, bias=False))
    weights, outputs = 6 + 12, 2 + 3 + 4
    assert training_bytes(model, (1, 1, 2), 5) == 4 * (4 * weights + 2 * 5 * outputs)


def test_a_model_is_only_measured() -> None:
    before = {name: tensor.clone() for name, tensor in MODEL.state_dict().items()}
    training_bytes(MODEL, SHAPE, 32)
    assert all(tensor.equal(before[name]) for name, tensor in MODEL.state_dict().items())
    assert not any(module._forward_hooks for module in MODEL.modules())


@pytest.mark.parametrize("count", [1, 2, 5])
def test_as_many_as_fit(count: int) -> None:
    largest = 512
    given = spec(space={"retain_batch_size": [64, largest], "forget_batch_size": 32})
    each = MARGIN * TAKES(largest)
    assert fitting(given, each * (count + 0.1), TAKES, 2) == count
    assert fitting(given, each * 0.1, TAKES, 2) == 1


@pytest.mark.parametrize(("trials", "workers", "count"), [(100, 2, MOST), (9, 2, 4), (1, 4, 1)])
def test_every_worker_has_a_part_of_the_study(trials: int, workers: int, count: int) -> None:
    assert fitting(spec(trials=trials), 80e9, TAKES, workers) == count


def test_none_share_where_trials_are_looked_at_on_the_way() -> None:
    for values in ({"curves": True}, {"pruner": "asha", "objective": "gap"}):
        unlike = spec(**values).model_copy(update={"resources": spec().resources})
        assert fitting(unlike, 80e9, TAKES, 1) == 1


def test_what_the_study_says_counts_and_a_cpu_gains_nothing() -> None:
    cpu, gpu = Allotment(1, 0.0, 2), Allotment(1, 0.5, 2)
    said = spec(resources={"fuse": 3})
    assert [together(said, each, TAKES) for each in (cpu, gpu)] == [3, 3]
    assert together(spec(), cpu, TAKES) == 1
    assert together(spec(method="finetune"), cpu, TAKES) == 1


def test_the_share_of_the_gpu_is_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    each = MARGIN * TAKES(512)
    given = spec(space={"retain_batch_size": 512, "forget_batch_size": 32})

    def gpu_of(memory: int | None) -> None:
        """Ray, with a worker whose GPU has so many bytes."""
        task = SimpleNamespace(remote=lambda: memory)
        stand_in = SimpleNamespace(remote=lambda **_: lambda ask: task, get=lambda answer: answer)
        monkeypatch.setattr(fusing, "ray", stand_in)

    gpu_of(int(each * 5.5))
    assert together(given, Allotment(1, 1.0, 2), TAKES) == 5
    assert together(given, Allotment(1, 0.5, 2), TAKES) == 2
    gpu_of(None)
    assert together(given, Allotment(1, 1.0, 2), TAKES) == 1, "no GPU that can be asked"


@pytest.mark.parametrize("fuse", [0, -1, "x", "2", True, 1.5, None])
def test_anything_else_is_refused_in_one_line(fuse: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"resources\.fuse .*from 1 on, or auto"):
        validate({"resources": {"fuse": fuse}})
