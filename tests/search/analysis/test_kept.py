"""What a saved model keeps, and when there is a warning."""

from __future__ import annotations

import pytest

from search.analysis.kept import of_row, told

REFERENCES = {
    "base": {"forget_accuracy": 97.0, "retain_accuracy": 96.0},
    "retrained": {"forget_accuracy": 0.0, "retain_accuracy": 96.5},
}


def figures(forget: float, retain: float, prefix: str = "") -> dict[str, float]:
    return {f"{prefix}forget_accuracy": forget, f"{prefix}retain_accuracy": retain}


def test_the_figures_stand_beside_the_base_models() -> None:
    line, warning = told(figures(1.25, 90.0), REFERENCES)
    assert line == (
        "it is right for 1.2 % of what it should forget and 90.0 % of the rest "
        "(base model: 97.0 and 96.0, retrained: 0.0 and 96.5; validation images)"
    )
    assert warning is None


@pytest.mark.parametrize(
    ("forget", "retain", "warning"),
    [
        (20.0, 76.0, None),
        (0.0, 75.9, "warning: this model has lost 20.1 points of what it should keep"),
        (20.1, 96.0, "warning: this model still knows 20.1 % of what it should forget"),
        (
            *(97.0, 10.0),
            "warning: this model has lost 86.0 points of what it should keep and still knows "
            "97.0 % of what it should forget",
        ),
    ],
)
def test_a_model_that_lost_much_or_forgot_little_comes_with_a_warning(
    forget: float, retain: float, warning: str | None
) -> None:
    assert told(figures(forget, retain), REFERENCES)[1] == warning


def test_what_the_retrained_model_knows_may_be_known() -> None:
    references = {**REFERENCES, "retrained": {"forget_accuracy": 78.0, "retain_accuracy": 96.0}}
    assert told(figures(97.0, 96.0), references)[1] is None
    assert told(figures(99.0, 96.0), references)[1] is not None


def test_without_data_the_base_model_is_right_for_all_synthetic_images() -> None:
    line, warning = told(figures(0.0, 79.0, "synthetic_"), {})
    assert line.endswith("(base model: 100.0 and 100.0; synthetic images)")
    assert warning == "warning: this model has lost 21.0 points of what it should keep"
    assert told(figures(0.0, 81.0, "synthetic_"), {})[1] is None


def test_real_images_go_before_synthetic_ones() -> None:
    both = {**figures(0.0, 95.0), **figures(0.0, 10.0, "synthetic_")}
    assert told(both, REFERENCES)[1] is None


def test_what_was_not_measured_is_not_told() -> None:
    assert told({}, REFERENCES) == ("what it keeps was not measured", None)


def test_the_metrics_of_a_row_go_by_their_names() -> None:
    row = {"m_retain_accuracy": 95.0, "m_zrf": None, "p_width": 1.0, "study": "toy"}
    assert of_row(row) == {"retain_accuracy": 95.0}
