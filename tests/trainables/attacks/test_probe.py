"""The linear probe, against scikit-learn's and on features whose answer is known."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from tests.trainables.toys import rng
from trainables.attacks.probe import fit_probe, fit_weighted


def clouds(forgotten: int, others: int, apart: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Normal features of unlike scales, whose means are `apart` in each direction."""
    source = rng(seed)
    scales = torch.tensor([0.01, 1.0, 300.0, 5.0], dtype=torch.float64)
    one = torch.randn(forgotten, 4, generator=source, dtype=torch.float64) + apart
    other = torch.randn(others, 4, generator=source, dtype=torch.float64)
    return one * scales, other * scales


@pytest.mark.parametrize(("forgotten", "others"), [(200, 200), (20, 600), (300, 11)])
@pytest.mark.parametrize("apart", [0.0, 0.4, 1.5])
def test_coefficients_are_those_of_scikit_learn(forgotten: int, others: int, apart: float) -> None:
    one, other = clouds(forgotten, others, apart)
    probe = fit_probe(one, other)
    seen = torch.cat([one, other])
    scaled = ((seen - seen.mean(dim=0)) / seen.std(dim=0, unbiased=False)).numpy()
    exact = LogisticRegression(
        class_weight="balanced", solver="newton-cholesky", tol=1e-12, max_iter=1_000
    ).fit(scaled, [1] * forgotten + [0] * others)
    expected = [*exact.coef_[0], *exact.intercept_]
    assert probe.coefficients.tolist() == pytest.approx(expected, abs=1e-5)


def test_features_that_say_it_are_told_right_and_others_by_chance() -> None:
    one, other = clouds(300, 300, 12.0)
    held, rest = clouds(100, 400, 12.0, seed=1)
    seen = torch.cat([held, rest])
    truth = torch.arange(len(seen)) < len(held)
    assert fit_probe(one, other)(seen, truth) == 100
    assert fit_probe(other, one)(seen, truth) == 0
    same, likewise = clouds(3_000, 3_000, 0.0)
    assert fit_probe(same, likewise)(seen * 0, truth) in (20.0, 80.0)
    held, rest = clouds(2_000, 2_000, 0.0, seed=2)
    truth = torch.arange(4_000) < 2_000
    assert fit_probe(same, likewise)(torch.cat([held, rest]), truth) == pytest.approx(50, abs=3)


def test_a_feature_is_as_good_as_it_is_whatever_its_scale() -> None:
    one, other = clouds(80, 200, 0.7)
    held = torch.cat(clouds(50, 50, 0.7, seed=1))
    truth = torch.arange(100) < 50
    plain = fit_probe(one, other)
    moved = fit_probe(one * 1e-6 + 4, other * 1e-6 + 4)
    torch.testing.assert_close(moved.coefficients, plain.coefficients, rtol=1e-6, atol=1e-6)
    assert moved(held * 1e-6 + 4, truth) == plain(held, truth)


def test_a_constant_feature_has_no_say() -> None:
    one, other = clouds(80, 200, 0.7)
    held = torch.cat(clouds(50, 50, 0.7, seed=1))
    truth = torch.arange(100) < 50

    def with_constant(features: Tensor, value: float) -> Tensor:
        return torch.cat([features, features.new_full((len(features), 1), value)], dim=1)

    plain, more = fit_probe(one, other), fit_probe(with_constant(one, 3), with_constant(other, 3))
    assert more.coefficients[4] == 0
    found = torch.cat([more.coefficients[:4], more.coefficients[5:]])
    torch.testing.assert_close(found, plain.coefficients)
    assert more(with_constant(held, -9), truth) == plain(held, truth)


def test_the_few_weigh_as_much_as_the_many() -> None:
    """Unweighted, always to say "the rest" would be right 97 times in a hundred."""
    one, other = clouds(30, 970, 0.8)
    held, rest = clouds(500, 500, 0.8, seed=1)
    probe = fit_probe(one, other)
    assert probe(held, torch.ones(500, dtype=torch.bool)) > 65
    assert probe(rest, torch.zeros(500, dtype=torch.bool)) > 65


def test_by_hand_in_one_dimension() -> None:
    """Two at 1 and -1: what is least is softplus(-2 c) twice, weight 1, and c^2 / 2."""
    values = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    labels = torch.tensor([1.0, 0.0], dtype=torch.float64)
    slope, offset = fit_weighted(values, labels, torch.ones_like(labels)).tolist()
    # The derivative, 2 sigmoid(-c) = c.
    assert 2 / (1 + torch.tensor(slope).exp().item()) == pytest.approx(slope, abs=1e-6)
    assert offset == pytest.approx(0, abs=1e-9)


def test_single_precision_and_perfect_separation_stay_finite() -> None:
    one, other = clouds(50, 50, 1e4)
    probe = fit_probe(one.float(), other.float())
    assert probe.coefficients.isfinite().all()
    assert probe(one.float(), torch.ones(50, dtype=torch.bool)) == 100
