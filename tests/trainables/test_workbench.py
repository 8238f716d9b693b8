"""What trials share: which artifact serves which scenario, collapse of GANs, private copies."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import Tensor, nn

from tests.trainables.toys import rng, same, state
from trainables.access import Access
from trainables.artifacts import classifiers, inversions, kinds
from trainables.artifacts.inversions import HOLDOUT, MEMBER, few_samples, seed_of
from trainables.artifacts.kinds import KINDS, describe
from trainables.artifacts.materials import Materials, Origin
from trainables.artifacts.store import key_of
from trainables.data.dataset import Samples
from trainables.data.sources import SPLIT_SEED, stratified
from trainables.errors import DataError, GeneratorError, InvalidRequest
from trainables.generators import dcgan, kegnet
from trainables.generators.sampling import Ensemble
from trainables.metrics.gap import distances
from trainables.models import catalogue
from trainables.models.answers import answers_of, predict
from trainables.models.copies import clone
from trainables.scenario import Inversion, Places, Scenario
from trainables.training.supervised import fit
from trainables.workbench import Workbench, prepare_part, save_model, shared_workbench

CPU = torch.device("cpu")
NAMES = ["base", "retrained", "reference", "gan 0", "gan 1", "gan 2"]


def prepared(scenario: Scenario, places: Places) -> set[str]:
    """Which prerequisites of this scenario are there already."""
    bench = Workbench(scenario, places, CPU)
    return {name for name in NAMES if bench.is_prepared(name)}


def read(weights: Path) -> dict[str, Tensor]:
    """The tensors of a file, in memory: those of `load_file` change with the file."""
    return load(weights.read_bytes())


def changed_copy(three_digits: Path, path: Path, **changes: np.ndarray) -> str:
    """The data of the session, with changes, in another file."""
    with np.load(three_digits) as file:
        np.savez(path, **{**dict(file), **changes})
    return str(path)


@pytest.fixture
def whole(bench: Workbench) -> Workbench:
    """The session's workbench with every artifact built."""
    for stage in bench.prerequisites(frozenset({Access.GANS})):
        for name in stage:
            bench.prepare(name)
    return bench


@pytest.fixture
def brief(scenario: Scenario) -> Scenario:
    """The session's scenario trained for one epoch only."""
    return replace(scenario, epochs=1)


class TestIdentity:
    """An artifact serves exactly those scenarios that would build the same."""

    def test_everything_serves_the_scenario_that_it_was_built_for(
        self, whole: Workbench, scenario: Scenario, places: Places
    ) -> None:
        assert prepared(scenario, places) == set(NAMES)
        assert all(whole.prepare(name)["origin"] == "cached" for name in NAMES)

    @pytest.mark.usefixtures("whole")
    def test_other_forget_classes_share_the_base_model_and_the_gans(
        self, scenario: Scenario, places: Places
    ) -> None:
        for forget in ((0, 1), (1, 2)):
            found = prepared(replace(scenario, forget=forget), places)
            assert found == {"base", "gan 0", "gan 1", "gan 2"}

    @pytest.mark.usefixtures("whole")
    def test_another_evaluation_seed_shares_all_but_the_metrics(
        self, scenario: Scenario, places: Places
    ) -> None:
        found = prepared(replace(scenario, evaluation_seed=1), places)
        assert found == set(NAMES) - {"reference"}

    @pytest.mark.usefixtures("whole")
    @pytest.mark.parametrize(
        "change", [{"anamnesis_alpha": 0.1}, {"anamnesis_batch_size": 64}, {"anamnesis_epochs": 3}]
    )
    def test_another_way_to_relearn_shares_all_but_the_relearning(
        self, scenario: Scenario, places: Places, change: dict[str, Any]
    ) -> None:
        changed = replace(scenario, **change)
        assert prepared(changed, places) == set(NAMES)
        plain, other = (Workbench(s, places, CPU) for s in (scenario, changed))
        plain.prepare("relearning")
        assert not other.is_prepared("relearning")

    def test_relearning_takes_the_scenario_s_target_batches_and_cap(
        self, scenario: Scenario, places: Places
    ) -> None:
        """With an alpha of nearly 1 one step is enough; with a batch per epoch and a cap of one
        epoch there is one step as well, and it is not."""
        easy = Workbench(replace(scenario, anamnesis_alpha=0.99), places, CPU)
        assert easy.relearn(easy.base).steps == 1
        whole = {"anamnesis_batch_size": 10_000, "anamnesis_epochs": 1}
        capped = Workbench(replace(scenario, **whole), places, CPU)
        found = capped.relearn(capped.retrained)
        assert (found.steps, found.capped) == (1, True)

    @pytest.mark.usefixtures("whole")
    def test_wider_gans_share_all_but_the_gans(self, scenario: Scenario, places: Places) -> None:
        found = prepared(replace(scenario, gan_width=0.5), places)
        assert found == {"base", "retrained", "reference"}

    @pytest.mark.usefixtures("whole")
    def test_longer_gan_training_shares_all_but_the_gans(
        self, scenario: Scenario, places: Places
    ) -> None:
        found = prepared(replace(scenario, gan_steps=401), places)
        assert found == {"base", "retrained", "reference"}

    @pytest.mark.usefixtures("whole")
    @pytest.mark.parametrize(
        "change",
        [
            {"model": "vgg16"},
            {"width": 0.2},
            {"validation_fraction": 0.1},
            {"seed": 1},
            {"epochs": 7},
            {"learning_rate": 2e-3},
            {"batch_size": 33},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_another_recipe_shares_nothing(
        self, scenario: Scenario, places: Places, change: dict[str, Any]
    ) -> None:
        assert prepared(replace(scenario, **change), places) == set()

    @pytest.mark.usefixtures("whole")
    def test_the_content_of_the_data_counts_and_not_its_name(
        self, scenario: Scenario, places: Places, three_digits: Path, tmp_path: Path
    ) -> None:
        renamed = changed_copy(three_digits, tmp_path / "renamed.npz")
        assert prepared(replace(scenario, dataset=renamed), places) == set(NAMES)
        with np.load(three_digits) as file:
            images = file["x_test"]
        images[5, 3, 3] = 1 - images[5, 3, 3]
        other = changed_copy(three_digits, tmp_path / "other.npz", x_test=images)
        assert prepared(replace(scenario, dataset=other), places) == set()

    @pytest.mark.usefixtures("whole")
    def test_a_newer_recipe_rebuilds_what_follows_from_it(
        self, scenario: Scenario, places: Places, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        newer = replace(classifiers.RETRAINED, recipe=classifiers.RETRAINED.recipe + 1)
        changed = [newer if kind is classifiers.RETRAINED else kind for kind in KINDS]
        monkeypatch.setattr(kinds, "KINDS", changed)
        assert prepared(scenario, places) == {"base", "gan 0", "gan 1", "gan 2"}

    @pytest.mark.usefixtures("whole")
    def test_another_split_shares_nothing(
        self, scenario: Scenario, places: Places, tmp_path: Path
    ) -> None:
        assert prepared(replace(scenario, validation_from="training"), places) == set(NAMES)
        (tmp_path / "held-out.txt").write_text("5\n200\n300\n")
        held_out = replace(scenario, held_out=str(tmp_path / "held-out.txt"))
        for other in (replace(scenario, validation_from="test"), held_out):
            assert prepared(other, places) == set()

    def test_where_validation_is_no_share_of_training_the_share_does_not_count(
        self, scenario: Scenario, places: Places, tmp_path: Path
    ) -> None:
        (tmp_path / "held-out.txt").write_text("5\n200\n300\n")
        held_out = replace(scenario, held_out=str(tmp_path / "held-out.txt"))
        for asked in (replace(scenario, validation_from="test"), held_out):
            other = replace(asked, validation_fraction=0.5)
            one, two = (
                Workbench(each, places, CPU).shelf.describe("gan 0") for each in (asked, other)
            )
            assert one == two

    def test_given_weights_change_all_that_follows_from_the_split(
        self, bench: Workbench, scenario: Scenario, places: Places, tmp_path: Path
    ) -> None:
        save_model(bench.base, tmp_path / "base.safetensors", (8, 8))
        given = replace(scenario, weights=str(tmp_path / "base.safetensors"))
        carved = replace(given, validation_from="training")
        for name in NAMES:
            one, two = (
                Workbench(each, places, CPU).shelf.describe(name) for each in (given, carved)
            )
            assert (one == two) is (name == "base"), name
        ours = Workbench(scenario, places, CPU).shelf.describe("retrained")
        assert Workbench(carved, places, CPU).shelf.describe("retrained") == ours

    def test_the_keys_of_digits_are_what_they_were(self, tmp_path: Path) -> None:
        """What users have built is found again."""
        places = Places(data=tmp_path, artifacts=tmp_path)
        plain = Inversion(bn_weight=0.0)  # which were the defaults when these keys were noted
        bench = Workbench(Scenario(inversion=plain), places, CPU)
        expected = {
            "base": "89efd77daf2c5e1234ce",
            "retrained": "f6d92d05492972651474",
            "reference": "06bbc21b162f37697938",
            "gan 0": "2157a2f2002590691688",
            "inverted generator 0": "cabe0a4c0b6c7e583f6b",
        }
        assert {name: key_of(bench.shelf.describe(name)[1]) for name in expected} == expected

    def test_equal_scenarios_share_everything(self, brief: Scenario, tmp_path: Path) -> None:
        one, other = replace(brief, learning_rate=1.0), replace(brief, learning_rate=1)
        assert one == other
        places = Places(data=tmp_path, artifacts=tmp_path)
        Workbench(one, places, CPU).prepare("base")
        assert "base" in prepared(other, places)


class TestTraining:
    """What models are trained on, and that training can be repeated."""

    @staticmethod
    def weights(scenario: Scenario, folder: Path, kind: str) -> dict[str, Tensor]:
        """The weights of the one artifact of this kind, built in this folder."""
        Workbench(scenario, Places(data=folder, artifacts=folder), CPU).prepare(kind)
        (file,) = folder.glob(f"{kind}-*.safetensors")
        return read(file)

    @pytest.mark.parametrize("kind", ["base", "retrained"])
    def test_the_same_scenario_gives_the_same_weights(
        self, brief: Scenario, tmp_path: Path, kind: str
    ) -> None:
        torch.rand(1)  # the global random state must not matter
        one, other = (self.weights(brief, tmp_path / name, kind) for name in "ab")
        assert same(one, other)
        third = self.weights(replace(brief, seed=1), tmp_path / "c", kind)
        assert not same(one, third)

    @pytest.mark.parametrize(("kind", "offset"), [("base", 0), ("retrained", 1)])
    def test_the_recipe_is_adam_from_a_fresh_model_of_the_kinds_own_seed(
        self, brief: Scenario, tmp_path: Path, kind: str, offset: int
    ) -> None:
        bench = Workbench(brief, Places(data=tmp_path, artifacts=tmp_path), CPU)
        train, seed = bench.dataset.train, brief.seed + offset
        expected = catalogue.build("allcnn", (1, 8, 8), 3, brief.width, seed)
        expected.to(memory_format=catalogue.memory_format("allcnn", (1, 8, 8)))
        for _ in fit(
            expected,
            train if kind == "base" else train.without(brief.forget),
            epochs=brief.epochs,
            learning_rate=brief.learning_rate,
            batch_size=brief.batch_size,
            rng=rng(seed),
        ):
            pass
        assert same(self.weights(brief, tmp_path, kind), state(expected))

    def test_neither_validation_nor_test_images_are_trained_on(
        self, brief: Scenario, three_digits: Path, tmp_path: Path
    ) -> None:
        with np.load(three_digits) as file:
            images, labels, tests = file["x_train"], file["y_train"], file["x_test"]
        held_out = stratified(labels, brief.validation_fraction, SPLIT_SEED)
        images[held_out] = 1 - images[held_out]
        path = changed_copy(three_digits, tmp_path / "held.npz", x_train=images, x_test=1 - tests)
        other = replace(brief, dataset=path)
        for kind in ("base", "retrained"):
            one = self.weights(brief, tmp_path / f"one {kind}", kind)
            assert same(one, self.weights(other, tmp_path / f"other {kind}", kind))

    def test_the_retrained_model_never_saw_the_forget_classes(
        self, brief: Scenario, three_digits: Path, tmp_path: Path
    ) -> None:
        with np.load(three_digits) as file:
            images, labels = file["x_train"], file["y_train"]
        images[labels == 1] = 1 - images[labels == 1]
        path = changed_copy(three_digits, tmp_path / "forget.npz", x_train=images)
        other = replace(brief, dataset=path)
        one, changed = (
            {
                kind: self.weights(chosen, tmp_path / f"{name} {kind}", kind)
                for kind in ("base", "retrained")
            }
            for name, chosen in (("one", brief), ("other", other))
        )
        assert same(one["retrained"], changed["retrained"])
        assert not same(one["base"], changed["base"])

    def test_a_damaged_base_model_is_rebuilt_to_the_same_weights(
        self, brief: Scenario, tmp_path: Path
    ) -> None:
        before = self.weights(brief, tmp_path, "base")
        (file,) = tmp_path.glob("base-*.safetensors")
        file.write_bytes(file.read_bytes()[:-1])
        told = Workbench(brief, Places(data=tmp_path, artifacts=tmp_path), CPU).prepare("base")
        assert told["origin"] == "rebuilt"
        assert file.stem in told["note"]
        assert same(read(file), before)

    def test_the_base_model_knows_all_classes_and_the_retrained_one_all_but_the_forgotten(
        self, bench: Workbench
    ) -> None:
        base, retrained = bench.references["base"], bench.references["retrained"]
        assert base["test_forget_accuracy"] > 90
        assert base["test_retain_accuracy"] > 90
        assert retrained["test_forget_accuracy"] == 0
        assert retrained["test_retain_accuracy"] > 90

    def test_the_reference_metrics_are_those_of_the_models(self, bench: Workbench) -> None:
        for name, model in (("base", bench.base), ("retrained", bench.retrained)):
            measured = {**bench.evaluator(model), **bench.comparison(model, answers_of(model))}
            measured |= distances(measured, bench.references["retrained"])
            assert bench.references[name] == measured
            found = bench.references_by_class[name]["test_class_accuracy"]
            assert len(found) == 3
            assert found[1] == pytest.approx(measured["test_forget_accuracy"])

    def test_the_control_has_no_answer_of_the_class_and_the_features_of_the_base_model(
        self, bench: Workbench
    ) -> None:
        base, control = bench.references["base"], bench.references["control"]
        assert list(bench.references) == ["base", "retrained", "control"]
        assert control["test_forget_accuracy"] == 0
        assert control["test_retain_accuracy"] >= base["test_retain_accuracy"]
        assert control["test_probe"] == base["test_probe"]
        assert control["gap"] < base["gap"]
        assert control["probe_distance"] == base["probe_distance"]
        assert control["probe_gap"] > 0


class TestGivenWeights:
    """A base model that was trained elsewhere may have seen every training image."""

    @pytest.fixture
    def given(self, bench: Workbench, brief: Scenario, tmp_path: Path) -> Scenario:
        save_model(bench.base, tmp_path / "base.safetensors", (8, 8))
        return replace(brief, weights=str(tmp_path / "base.safetensors"))

    @staticmethod
    def images(three_digits: Path, part: str) -> set[bytes]:
        with np.load(three_digits) as file:
            arrays = (file[f"x_{part}"] * 2 - 1).astype(np.float32)
        return {array.tobytes() for array in arrays}

    @staticmethod
    def seen(samples: Samples | Tensor) -> set[bytes]:
        images = samples if isinstance(samples, Tensor) else samples.images
        return {image.numpy().tobytes() for image in images[:, 0]}

    def test_nothing_that_it_may_have_seen_is_taken_for_unseen(
        self, given: Scenario, three_digits: Path, tmp_path: Path
    ) -> None:
        bench = Workbench(given, Places(data=tmp_path, artifacts=tmp_path), CPU)
        data, judge = bench.dataset, bench.evaluator
        train, test = (self.images(three_digits, part) for part in ("train", "test"))
        assert self.seen(data.train) == train
        assert self.seen(data.validation) | self.seen(data.test) == test
        assert not self.seen(data.validation) & self.seen(data.test)
        for prefix in ("", "test_"):
            members, others = judge._members[prefix], judge.held_out[prefix]
            assert self.seen(members) <= self.seen(data.train.without((1,)))
            assert self.seen(others) <= test - train, "the attack's non-members"
        assert self.seen(judge.targets) == self.seen(data.train.of((1,)))

    def test_of_a_model_that_was_trained_here_the_share_that_it_has_not_seen_is_taken(
        self, given: Scenario, bench: Workbench, tmp_path: Path
    ) -> None:
        stated = replace(given, validation_from="training")
        data = Workbench(stated, Places(data=tmp_path, artifacts=tmp_path), CPU).dataset
        assert torch.equal(data.train.images, bench.dataset.train.images)
        assert torch.equal(data.validation.images, bench.dataset.validation.images)
        assert torch.equal(data.test.images, bench.dataset.test.images)

    def test_nothing_is_learnt_from_what_is_held_out(
        self, given: Scenario, three_digits: Path, tmp_path: Path
    ) -> None:
        """Not by the retrained model, GANs, the few-shot aid or relearning."""
        with np.load(three_digits) as file:
            labels, tests = file["y_train"], file["x_test"]
        listed = tuple(range(0, len(labels), 9))
        (tmp_path / "held-out.txt").write_text("\n".join(map(str, listed)))
        for asked in (given, replace(given, held_out=str(tmp_path / "held-out.txt"))):
            asked = replace(asked, inversion=Inversion(steps=2, batch_size=8, few_shot=4))
            bench = Workbench(asked, Places(data=tmp_path, artifacts=tmp_path), CPU)
            hidden = self.seen(bench.dataset.validation) | self.seen(bench.dataset.test)
            assert len(hidden) == len(tests) + (len(listed) if asked.held_out else 0)
            granted = bench.grant(frozenset({Access.FORGET, Access.RETAIN}))
            for samples in (
                bench.dataset.train,
                granted.forget,
                granted.retain,
                few_samples(bench._materials, 4),
            ):
                assert not self.seen(samples) & hidden

    def test_a_class_with_a_single_test_image_cannot_be_forgotten(
        self, given: Scenario, three_digits: Path, tmp_path: Path
    ) -> None:
        with np.load(three_digits) as file:
            images, labels = file["x_test"], file["y_test"]
        kept = (labels != 1) | (np.arange(len(labels)) == np.flatnonzero(labels == 1)[0])
        path = changed_copy(
            three_digits, tmp_path / "one.npz", x_test=images[kept], y_test=labels[kept]
        )
        places = Places(data=tmp_path, artifacts=tmp_path)
        with pytest.raises(DataError, match="too few test images"):
            _ = Workbench(replace(given, dataset=path), places, CPU).references
        stated = replace(given, dataset=path, validation_from="training")
        assert Workbench(stated, places, CPU).references["base"]["forget_accuracy"] > 90


BOTH = frozenset({Access.FORGET, Access.RETAIN})


def test_data_is_cut_once_for_all_trials_and_anew_after_one_that_changed_it(
    bench: Workbench,
) -> None:
    train, forget = bench.dataset.train, bench.scenario.forget
    first, second = bench.grant(BOTH), bench.grant(BOTH)
    assert first.forget.images is second.forget.images
    assert first.retain.images is second.retain.images
    first.retain.images.mul_(0)
    first.forget.labels.add_(1)
    third = bench.grant(BOTH)
    assert torch.equal(third.retain.images, train.without(forget).images)
    assert torch.equal(third.retain.labels, train.without(forget).labels)
    assert torch.equal(third.forget.images, train.of(forget).images)
    assert torch.equal(third.forget.labels, train.of(forget).labels)


class Painter(dcgan.Generator):
    """Shows `wanted` in the given share of its images and `other` in the rest."""

    def __init__(self, wanted: Tensor, other: Tensor, share: float) -> None:
        super().__init__((1, 8, 8))
        self.wanted, self.other, self.share = wanted, other, share

    def forward(self, noise: Tensor) -> Tensor:
        count = round(self.share * len(noise))
        return torch.cat(
            [self.wanted.expand(count, 1, 8, 8), self.other.expand(len(noise) - count, 1, 8, 8)]
        )


@pytest.mark.parametrize("forget", [(), (3,), (-1,), (0, 1, 2)])
def test_a_scenario_made_by_hand_must_forget_classes_that_there_are(
    scenario: Scenario, places: Places, forget: tuple[int, ...]
) -> None:
    with pytest.raises(InvalidRequest):
        Workbench(replace(scenario, forget=forget), places, CPU)


class TestCollapse:
    """A GAN of whose samples too few are classified as its class is trained anew."""

    @pytest.fixture
    def collapsing(
        self,
        bench: Workbench,
        scenario: Scenario,
        places: Places,
        monkeypatch: pytest.MonkeyPatch,
        request: pytest.FixtureRequest,
    ) -> Callable[[Sequence[float]], tuple[Workbench, list[int]]]:
        """A workbench whose GAN trainings of class 1 have these shares, and the seeds used."""
        known = predict(bench.base, bench.dataset.train.images).argmax(1)
        images = {
            label: bench.dataset.train.images[
                (known == label) & (bench.dataset.train.labels == label)
            ][0]
            for label in range(3)
        }
        # Another `gan_steps` per test keeps these GANs apart from all others.
        steps = 1_000_000 + sum(request.node.nodeid.encode())

        def prepare(shares: Sequence[float]) -> tuple[Workbench, list[int]]:
            seeds: list[int] = []

            def train(samples: Samples, steps: int, seed: int, width: float) -> Painter:
                label = int(samples.labels[0])
                share = shares[len(seeds) % len(shares)]
                seeds.append(seed)
                return Painter(images[label], images[(label + 1) % 3], share)

            monkeypatch.setattr(dcgan, "train", train)
            return Workbench(replace(scenario, gan_steps=steps), places, CPU), seeds

        return prepare

    def test_three_collapsed_trainings_are_an_error_that_tells_their_shares(
        self, collapsing: Callable[[Sequence[float]], tuple[Workbench, list[int]]]
    ) -> None:
        bench, seeds = collapsing([0.1, 0.4, 0.0])
        with pytest.raises(GeneratorError) as caught:
            bench.prepare("gan 1")
        said = str(caught.value)
        assert "GAN of class 1 collapsed in each of 3 trainings" in said
        assert "(10%, 40%, 0% of its samples" in said
        assert "50% is needed" in said
        assert "gan_steps" in said
        assert len(said.splitlines()) == 1
        assert len(set(seeds)) == len(seeds) == 3

    def test_the_class_of_a_collapsed_gan_is_told_by_number_and_name(
        self,
        collapsing: Callable[[Sequence[float]], tuple[Workbench, list[int]]],
        places: Places,
        three_digits: Path,
        tmp_path: Path,
    ) -> None:
        plain, _ = collapsing([0.1, 0.4, 0.0])
        path = changed_copy(three_digits, tmp_path / "own.npz", classes=np.array(["1", "2", "3"]))
        bench = Workbench(replace(plain.scenario, dataset=path), places, CPU)
        told = [bench.title(name) for name in ("gan 1", "gan all", "base", "hold-out generator 1")]
        assert told == ["gan 1 ('2')", "gan all", "base", "hold-out generator 1"]
        with pytest.raises(GeneratorError, match=r"the GAN of class 1 \('2'\) collapsed"):
            bench.prepare("gan 1")

    def test_a_collapse_does_not_lose_what_was_trained_together(
        self,
        collapsing: Callable[[Sequence[float]], tuple[Workbench, list[int]]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        bench, seeds = collapsing([0.0, 1.0, 1.0, 0.0])

        def train(samples: Any, steps: int, seeds: Any, width: float) -> list[nn.Module]:
            pairs = zip(samples, seeds, strict=True)
            return [dcgan.train(own, steps, seed, width) for own, seed in pairs]

        monkeypatch.setattr(dcgan, "train_together", train)
        with pytest.raises(GeneratorError, match="class 0 collapsed in each of 3 trainings"):
            bench.prepare_together([f"gan {label}" for label in range(3)])
        assert len(seeds) == 3 + 2, "the first one was trained twice more"
        assert all(bench.prepare(f"gan {label}")["origin"] == "cached" for label in (1, 2))

    def test_a_collapse_is_remembered_and_not_trained_again(
        self, collapsing: Callable[[Sequence[float]], tuple[Workbench, list[int]]]
    ) -> None:
        bench, seeds = collapsing([0.0])
        for _ in range(2):
            with pytest.raises(GeneratorError, match="collapsed"):
                bench.prepare("gan 1")
        assert len(seeds) == 3

    def test_one_collapsed_class_keeps_all_gans_from_being_used(
        self, collapsing: Callable[[Sequence[float]], tuple[Workbench, list[int]]]
    ) -> None:
        bench, _ = collapsing([1.0, 0.0, 0.0, 0.0])  # class 0 is well, class 1 collapses
        with pytest.raises(GeneratorError, match="class 1"):
            _ = bench.gans

    def test_the_first_good_training_is_taken(
        self, collapsing: Callable[[Sequence[float]], tuple[Workbench, list[int]]]
    ) -> None:
        bench, seeds = collapsing([0.2, 0.9, 1.0])
        assert bench.prepare("gan 1")["origin"] == "built"
        assert len(seeds) == 2
        assert seeds[0] != seeds[1]

    def test_of_gans_trained_together_the_collapsed_one_is_trained_again_alone(
        self,
        collapsing: Callable[[Sequence[float]], tuple[Workbench, list[int]]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        bench, seeds = collapsing([1.0])
        asked = []

        def train(
            samples: Sequence[Samples], steps: int, seeds: Sequence[int], width: float
        ) -> list[nn.Module]:
            asked.append([int(own.labels[0]) for own in samples])
            networks = [dcgan.train(*each) for each in own_arguments(samples, steps, seeds, width)]
            assert isinstance(networks[1], Painter)
            networks[1].share = 0.0
            return networks

        def own_arguments(samples: Any, steps: int, seeds: Any, width: float) -> Any:
            return [(own, steps, seed, width) for own, seed in zip(samples, seeds, strict=True)]

        monkeypatch.setattr(dcgan, "train_together", train)
        names = [f"gan {label}" for label in range(3)]
        assert bench.trained_together(["base", *names]) == [["base"], names]
        found = bench.prepare_together(names)
        assert [each["origin"] for each in found.values()] == ["built"] * 3
        assert asked == [[0, 1, 2]]
        assert len(seeds) == 4
        assert len(set(seeds)) == 4
        tried = [len(bench.shelf.obtain(name).facts["shares"]) for name in names]
        assert tried == [1, 2, 1]
        assert bench.prepare_together(names)["gan 1"]["origin"] == "cached"
        assert len(seeds) == 4

    @pytest.mark.parametrize(("share", "trainings"), [(0.5, 1), (0.498, 3)])
    def test_half_of_the_samples_suffice(
        self,
        collapsing: Callable[[Sequence[float]], tuple[Workbench, list[int]]],
        share: float,
        trainings: int,
    ) -> None:
        bench, seeds = collapsing([share])
        if trainings == 1:
            bench.prepare("gan 1")
        else:
            with pytest.raises(GeneratorError):
                bench.prepare("gan 1")
        assert len(seeds) == trainings

    def test_the_seeds_of_classes_and_attempts_never_meet(
        self, collapsing: Callable[[Sequence[float]], tuple[Workbench, list[int]]]
    ) -> None:
        bench, seeds = collapsing([0.0])
        for label in range(3):
            with pytest.raises(GeneratorError):
                bench.prepare(f"gan {label}")
        assert len(set(seeds)) == 9

    def test_trials_with_one_pool_are_given_the_same_samples(self, whole: Workbench) -> None:
        needs = frozenset({Access.GANS})

        def drawn(pool: int | None, seed: int, count: int = 20) -> Tensor:
            return whole.grant(needs, pool=pool).gans.draw(1, count, rng(seed)).images

        assert torch.equal(drawn(7, 1), drawn(7, 2))
        assert torch.equal(drawn(7, 1, 9), drawn(7, 1)[:9])
        assert not torch.equal(drawn(7, 1), drawn(8, 1))
        assert not torch.equal(drawn(None, 1), drawn(None, 2))
        assert torch.equal(drawn(None, 1), whole.gans.draw(1, 20, rng(1)).images)

    def test_the_shares_of_the_sessions_gans_show_no_collapse(self, whole: Workbench) -> None:
        for label in range(3):
            drawn = dcgan.draw(whole.gans.generators[label], 200, rng())
            hit = (predict(whole.base, drawn).argmax(1) == label).float().mean()
            assert hit > 0.5


class TestSharing:
    """What is shared is never changed; what is handed out is a copy."""

    def test_a_clone_shares_no_tensor_with_the_base_model(self, bench: Workbench) -> None:
        copied, before = clone(bench.base), state(bench.base)
        theirs = {tensor.data_ptr() for tensor in bench.base.state_dict().values()}
        assert theirs.isdisjoint(tensor.data_ptr() for tensor in copied.state_dict().values())
        with torch.no_grad():
            for tensor in copied.state_dict().values():
                tensor.add_(1)
        assert same(state(bench.base), before)

    def test_shared_models_are_in_evaluation_mode(self, whole: Workbench) -> None:
        assert not whole.base.training
        assert not any(generator.training for generator in whole.gans.generators.values())

    def test_only_methods_that_need_gans_wait_for_them(self, bench: Workbench) -> None:
        nothing = bench.prerequisites(frozenset())
        assert nothing == [["base", "retrained"], ["reference"]]
        assert bench.prerequisites(frozenset({Access.FORGET, Access.RETAIN})) == nothing
        flat = [name for stage in bench.prerequisites(frozenset({Access.GANS})) for name in stage]
        assert sorted(flat) == sorted(NAMES)

    def test_a_part_is_built_alone_once_the_stages_before_it_are_there(
        self, brief: Scenario, tmp_path: Path
    ) -> None:
        """Else parts that are built in parallel would wait for each other."""
        scenario = replace(brief, gan_steps=1)
        places = Places(data=tmp_path, artifacts=tmp_path)
        there: set[str] = set()
        bench = Workbench(scenario, places, CPU)
        for stage in bench.prerequisites(frozenset({Access.GANS})):
            for name in stage:
                with contextlib.suppress(GeneratorError):  # one step makes no good GAN
                    Workbench(scenario, places, CPU).prepare(name)
                there.add(name)
                assert prepared(scenario, places) == there

    def test_what_the_gans_cost_counts_for_methods_that_need_them(self, whole: Workbench) -> None:
        costs = [whole.prepare(f"gan {label}")["seconds"] for label in range(3)]
        assert whole.prepare_seconds(frozenset({Access.GANS})) == pytest.approx(sum(costs))
        assert min(costs) > 0
        assert whole.prepare_seconds(frozenset({Access.FORGET, Access.RETAIN})) == 0

    def test_one_process_has_one_workbench_per_scenario(
        self, scenario: Scenario, places: Places
    ) -> None:
        assert shared_workbench(scenario, places) is shared_workbench(replace(scenario), places)
        other = shared_workbench(replace(scenario, forget=(0,)), places)
        assert other is not shared_workbench(scenario, places)

    @pytest.mark.usefixtures("whole")
    def test_a_part_can_be_prepared_from_values_alone(
        self, scenario: Scenario, places: Places, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        threads: list[int] = []
        monkeypatch.setattr(torch, "set_num_threads", threads.append)
        told = prepare_part(scenario, places, ["gan 2", "gan 0"], 3)
        assert {name: found["origin"] for name, found in told.items()} == {
            "gan 2": "cached",
            "gan 0": "cached",
        }
        assert threads == [3]

    @pytest.mark.usefixtures("whole")
    def test_looking_whether_parts_are_there_builds_nothing(
        self, scenario: Scenario, places: Places, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def never(*_: Any, **__: Any) -> NoReturn:
            raise AssertionError("trained although nobody asked for it")

        monkeypatch.setattr(classifiers, "fit", never)
        monkeypatch.setattr(dcgan, "train", never)
        assert prepared(replace(scenario, seed=99), places) == set()


def test_a_saved_model_is_its_weights_and_statistics(bench: Workbench, tmp_path: Path) -> None:
    save_model(bench.base, tmp_path / "model.safetensors", (8, 8))
    assert same(read(tmp_path / "model.safetensors"), state(bench.base))


def test_artifacts_are_named_after_their_kind(whole: Workbench, places: Places) -> None:
    kinds = {
        re.sub(r"-[0-9a-f]{20}\.safetensors$", "", file.name)
        for file in places.artifacts.glob("*.safetensors")
    }
    assert {"base", "retrained", "reference", "dcgan"} <= kinds


MEMBERS = [f"{MEMBER}{index}" for index in range(2)]
HELD_OUT = [f"{HOLDOUT}{index}" for index in range(2)]
ZERO_SHOT = frozenset({Access.INVERTED})


class TestInverted:
    """Generators inverted from the base model: a method's members and the synthetic hold-out."""

    @pytest.fixture
    def inverted(self, bench: Workbench) -> Workbench:
        """The session's workbench with two members, the hold-out and both models."""
        for name in ["base", "retrained", *MEMBERS, *HELD_OUT]:
            bench.prepare(name)
        return bench

    @pytest.fixture
    def inversions(self, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
        """What inversions are handed; none of them trains."""
        handed: list[dict[str, Any]] = []

        def catch(
            classifier: nn.Module,
            image_shape: tuple[int, int, int],
            num_classes: int,
            recipe: Inversion,
            seed: int,
            examples: Samples | None = None,
        ) -> kegnet.Generator:
            handed.append({"seed": seed, "examples": examples, "recipe": recipe})
            handed[-1] |= {"shape": image_shape, "classes": num_classes, "classifier": classifier}
            return kegnet.Generator(image_shape, num_classes, recipe.output).eval()

        monkeypatch.setattr(kegnet, "invert", catch)
        return handed

    @staticmethod
    def untrained(scenario: Scenario, places: Places, number: int, few_shot: int = 0) -> Workbench:
        """A workbench whose inversions no other test shares (`number` keeps them apart)."""
        inversion = Inversion(steps=2_000_000 + number, few_shot=few_shot)
        return Workbench(replace(scenario, inversion=inversion), places, CPU)

    @staticmethod
    def prepared(scenario: Scenario, places: Places) -> set[str]:
        bench = Workbench(scenario, places, CPU)
        names = ["base", "retrained", *MEMBERS, *HELD_OUT]
        return {name for name in names if bench.is_prepared(name)}

    def test_as_many_members_are_prerequisites_as_the_method_takes(self, bench: Workbench) -> None:
        plain = [["base", "retrained"], ["reference"]]
        assert bench.prerequisites(ZERO_SHOT, generators=2) == [plain[0], plain[1] + MEMBERS]
        assert bench.prerequisites(ZERO_SHOT, generators=0) == plain
        assert bench.prerequisites(frozenset({Access.FORGET}), generators=2) == plain

    def test_the_synthetic_metrics_need_the_hold_out(self, bench: Workbench) -> None:
        plain = [["base", "retrained"], ["reference"]]
        synthetic = ("synthetic",)
        assert bench.prerequisites(frozenset(), synthetic) == [plain[0], plain[1] + HELD_OUT]
        both = bench.prerequisites(ZERO_SHOT, synthetic, 2)
        assert both == [plain[0], plain[1] + MEMBERS + HELD_OUT]
        assert bench.prerequisites(frozenset(), ("anamnesis",)) == [*plain, ["relearning"]]

    @pytest.mark.usefixtures("inversions")
    def test_exactly_as_many_generators_are_granted_as_asked(
        self, scenario: Scenario, places: Places
    ) -> None:
        bench = self.untrained(scenario, places, 1)
        before: list[kegnet.Generator] = []
        for count in (2, 1, 4, 0, 3):
            granted = bench.grant(ZERO_SHOT, count).inverted
            assert isinstance(granted, Ensemble)
            assert granted.classifier is bench.base
            found = list(granted.generators)
            assert len(found) == count
            shared = min(count, len(before))
            assert all(found[i] is before[i] for i in range(shared)), "each is fetched once"
            before = max(before, found, key=len)
        assert not any(generator.training for generator in before)

    @pytest.mark.usefixtures("inversions")
    def test_a_pool_takes_in_the_members_that_later_trials_need(
        self, scenario: Scenario, places: Places
    ) -> None:
        bench = self.untrained(scenario, places, 5)
        few = bench.grant(ZERO_SHOT, 1, pool=0).inverted.draw_each(range(1), 10, rng())
        many = bench.grant(ZERO_SHOT, 2, pool=0).inverted.draw_each(range(2), 10, rng())
        assert torch.equal(many.images[:10], few.images)
        assert len(many) == 20

    def test_a_trained_member_is_the_one_in_the_store_and_paints_what_is_asked(
        self, inverted: Workbench, scenario: Scenario
    ) -> None:
        granted = inverted.grant(ZERO_SHOT, 2).inverted
        assert isinstance(granted, Ensemble)
        for index, generator in enumerate(granted.generators):
            seed = seed_of(MEMBERS[index], scenario)
            shape, recipe = inverted.image_shape, scenario.inversion
            expected = kegnet.invert(inverted.base, shape, 3, recipe, seed)
            assert same(state(generator), state(expected))
            noise, labels = kegnet.draw_inputs(300, 3, rng())
            with torch.inference_mode():
                answers = inverted.base(generator(noise, labels)).argmax(1)
            assert (answers == labels).float().mean() > 0.9

    def test_members_and_hold_out_all_differ(self, inverted: Workbench) -> None:
        generators = [inverted.shelf.load(name) for name in MEMBERS + HELD_OUT]
        noise, labels = kegnet.draw_inputs(20, 3, rng())
        with torch.inference_mode():
            images = [generator(noise, labels) for generator in generators]
        for one in range(4):
            for other in range(one):
                assert not same(state(generators[one]), state(generators[other]))
                assert (images[one] - images[other]).abs().mean() > 0.01

    @pytest.mark.usefixtures("inversions")
    def test_the_hold_out_shows_images_of_its_own_generators_alone(
        self, scenario: Scenario, places: Places, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench = self.untrained(scenario, places, 2)
        drawn: list[dict[str, Tensor]] = []
        real = bench.dataset.train.images[:200]  # so that images of all classes are among them

        def draw(generator: kegnet.Generator, count: int, rng: torch.Generator) -> Tensor:
            assert count == inversions.SAMPLES
            drawn.append(state(generator))
            return real

        monkeypatch.setattr(kegnet, "draw", draw)
        found = bench.synthetic(answers_of(bench.base))
        assert found["synthetic_gap"] == 50
        assert len(drawn) == 2
        assert all(
            same(weights, state(bench.shelf.load(name)))
            for weights, name in zip(drawn, HELD_OUT, strict=True)
        )

    @pytest.mark.usefixtures("inverted")
    @pytest.mark.parametrize(
        "change",
        [
            {"steps": 101},
            {"batch_size": 33},
            {"learning_rate": 2e-3},
            {"reconstruction_weight": 0.5},
            {"diversity_weight": 0.5},
            {"decoder_layers": 2},
            {"output": "normalised"},
            {"bn_weight": 0.5},
            {"few_shot": 1},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_another_inversion_shares_the_models_but_not_the_generators(
        self, scenario: Scenario, places: Places, change: dict[str, Any]
    ) -> None:
        other = replace(scenario, inversion=replace(scenario.inversion, **change))
        assert self.prepared(scenario, places) == {"base", "retrained", *MEMBERS, *HELD_OUT}
        assert self.prepared(other, places) == {"base", "retrained"}

    @pytest.mark.usefixtures("inverted")
    def test_the_weight_of_the_few_shot_aid_counts_only_where_there_is_an_aid(
        self, scenario: Scenario, places: Places
    ) -> None:
        plain = replace(scenario, inversion=replace(scenario.inversion, few_shot_weight=7.0))
        assert self.prepared(plain, places) == {"base", "retrained", *MEMBERS, *HELD_OUT}
        descriptions = []
        for weight in (1.0, 7.0):
            aided = replace(scenario.inversion, few_shot=2, few_shot_weight=weight)
            bench = Workbench(replace(scenario, inversion=aided), places, CPU)
            descriptions.append(bench.shelf.describe(MEMBERS[0]))
        assert descriptions[0] != descriptions[1]

    @pytest.mark.parametrize(("weight", "named"), [(0.0, False), (0.5, True)])
    def test_how_statistics_are_compared_is_named_only_where_they_count(
        self, scenario: Scenario, weight: float, named: bool
    ) -> None:
        """Generators that were made without stay what they were."""
        inversion = replace(scenario.inversion, bn_weight=weight)
        origin = Origin(dataset="d", weights=None, image_shape=(1, 8, 8))
        _, described = describe(MEMBERS[0], replace(scenario, inversion=inversion), origin)
        assert ("bn_distance" in described) is named
        assert described["recipe"] == 1

    @pytest.mark.usefixtures("inverted")
    def test_other_forget_classes_share_the_generators(
        self, scenario: Scenario, places: Places
    ) -> None:
        for forget in ((0, 1), (1, 2)):
            found = self.prepared(replace(scenario, forget=forget), places)
            assert found == {"base", *MEMBERS, *HELD_OUT}

    @pytest.mark.usefixtures("inverted")
    @pytest.mark.parametrize(
        ("change", "shared"),
        [
            ({"evaluation_seed": 1}, {"base", "retrained", *MEMBERS, *HELD_OUT}),
            ({"gan_steps": 401}, {"base", "retrained", *MEMBERS, *HELD_OUT}),
            ({"seed": 1}, set()),
            ({"epochs": 7}, set()),
        ],
        ids=["evaluation_seed", "gan_steps", "seed", "epochs"],
    )
    def test_generators_follow_from_the_base_model_alone(
        self, scenario: Scenario, places: Places, change: dict[str, Any], shared: set[str]
    ) -> None:
        assert self.prepared(replace(scenario, **change), places) == shared

    def test_seeds_of_scenarios_members_and_hold_outs_never_meet(self, scenario: Scenario) -> None:
        names = [f"{kind}{index}" for kind in (MEMBER, HOLDOUT) for index in range(50)]
        scenarios = [replace(scenario, seed=seed) for seed in (0, 1, 2, 3, 50, 100, 1234)]
        seeds = {seed_of(name, one) for one in scenarios for name in names}
        assert len(seeds) == len(scenarios) * 100
        for name in names[:50]:
            told = {seed_of(name, replace(scenarios[0], forget=(c,))) for c in range(3)}
            assert len(told) == 1, "the forget class does not count"

    def test_an_inversion_is_handed_the_base_model_its_recipe_and_a_seed_of_its_own(
        self, scenario: Scenario, places: Places, inversions: list[dict[str, Any]]
    ) -> None:
        bench = self.untrained(scenario, places, 3)
        for name in MEMBERS + HELD_OUT:
            bench.prepare(name)
        assert [handed["seed"] for handed in inversions] == [
            seed_of(name, scenario) for name in MEMBERS + HELD_OUT
        ]
        for handed in inversions:
            assert handed["classifier"] is bench.base
            assert handed["recipe"] == bench.scenario.inversion
            assert (handed["shape"], handed["classes"]) == ((1, 8, 8), 3)

    def test_without_the_aid_no_data_are_looked_at(
        self,
        bench: Workbench,
        scenario: Scenario,
        places: Places,
        inversions: list[dict[str, Any]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        bench.prepare("base")

        def never(_: Materials) -> NoReturn:
            raise AssertionError("the data were looked at")

        monkeypatch.setattr(Materials, "dataset", property(never))
        other = self.untrained(scenario, places, 4)
        for name in (MEMBERS[0], HELD_OUT[0]):
            other.prepare(name)
        assert [handed["examples"] for handed in inversions] == [None, None]
        granted = other.grant(ZERO_SHOT, 1).inverted
        assert isinstance(granted, Ensemble)
        assert len(granted.generators) == 1

    @pytest.mark.parametrize("count", [1, 5])
    def test_the_aid_is_that_many_training_samples_of_each_class(
        self, scenario: Scenario, places: Places, inversions: list[dict[str, Any]], count: int
    ) -> None:
        bench = self.untrained(scenario, places, 5, few_shot=count)
        for name in MEMBERS:
            bench.prepare(name)
        aid, again = (handed["examples"] for handed in inversions)
        assert torch.bincount(aid.labels, minlength=3).tolist() == [count] * 3
        assert torch.equal(aid.images, again.images)
        dataset = bench.dataset

        def label_of(image: Tensor, split: Samples) -> list[int]:
            """Labels of the images of this split that equal `image`."""
            return split.labels[(split.images == image).flatten(1).all(dim=1)].tolist()

        for image, label in zip(aid.images, aid.labels, strict=True):
            assert label_of(image, dataset.train) == [int(label)]
            assert not label_of(image, dataset.validation)
            assert not label_of(image, dataset.test)
        assert len(aid.images.unique(dim=0)) == 3 * count

    def test_what_generators_cost_counts_for_methods_that_need_them(
        self, inverted: Workbench
    ) -> None:
        costs = [inverted.prepare(name)["seconds"] for name in MEMBERS]
        assert min(costs) > 0
        assert inverted.prepare_seconds(ZERO_SHOT, 2) == pytest.approx(sum(costs))
        assert inverted.prepare_seconds(ZERO_SHOT, 1) == pytest.approx(costs[0])
        assert inverted.prepare_seconds(frozenset({Access.FORGET}), 2) == 0
