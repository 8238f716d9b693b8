"""Plots: what stands in the traces for data that is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("plotly")

import plotly.graph_objects as go

from search.analysis.by_class import Target
from search.analysis.importance import Importance
from search.analysis.sensitivity import Point
from search.report import trials
from search.report.plots import class_map, curves, points, sensitivity_plot, studies, write_figure
from search.report.plots import classes as class_plots
from search.report.plots import hyperparameters as value_plots
from search.report.plots import repeats as repeat_plots
from search.report.plots import search as search_plots
from search.report.plots import times as time_plots
from tests.search.report.samples import DESCRIBED, rows
from tests.search.toys import toy_row
from trainables.errors import InvalidRequest


def trace(figure: go.Figure, name: str) -> Any:
    """The first trace of this name."""
    return next(item for item in figure.data if item.name == name)


def point(values: tuple[Any, ...], *gaps: float, state: str = "complete") -> Point:
    """A point of a sweep with repeats of these test gaps; other metrics follow from toys."""
    return Point(values, [toy_row(n, state=state, m_test_gap=gap) for n, gap in enumerate(gaps)])


def titles(figure: go.Figure, axis: str) -> list[str]:
    found = figure.layout.to_plotly_json()
    return [
        value["title"]["text"]
        for key, value in found.items()
        if key.startswith(axis) and "text" in value.get("title", {})
    ]


def test_the_pareto_plot_has_complete_trials_the_front_and_stars() -> None:
    references = {"original": DESCRIBED["references"]["base"]}
    figure = search_plots.pareto(rows(), rows()[:1], references)
    points = trace(figure, "trials")
    assert list(points.x) == [2.5 * number for number in range(10)]
    assert list(points.y) == [90.0 - number for number in range(10)]
    assert list(points.customdata) == list(range(10))
    assert list(points.marker.color) == [1.0 + number for number in range(10)]
    assert list(trace(figure, "front").x) == [0.0]
    star = trace(figure, "original model")
    assert (star.x[0], star.y[0], star.marker.symbol) == (100.0, 99.0, "star")
    assert titles(figure, "xaxis") == ["forget accuracy, validation (%), less is better"]
    assert titles(figure, "yaxis") == ["retain accuracy, validation (%)"]


def test_a_synthetic_study_is_plotted_on_what_steered_it() -> None:
    columns = {"m_synthetic_forget_accuracy": 7.0, "m_synthetic_retain_accuracy": 60.0}
    row = toy_row(0, objective="synthetic", **columns, m_synthetic_gap=23.5)
    figure = search_plots.pareto([row], [row], {"original": DESCRIBED["references"]["base"]})
    assert (figure.data[1].x[0], figure.data[1].y[0]) == (7.0, 60.0)
    assert not any(item.name == "original model" for item in figure.data)
    assert "synthetic images" in titles(figure, "xaxis")[0]
    assert "ideal" in points.gap_title([row])


def test_history_has_the_best_so_far_and_failures_below_the_axis() -> None:
    mixed = [
        toy_row(0, m_gap=5.0),
        toy_row(1, m_gap=7.0),
        toy_row(2, state="oom"),
        toy_row(3, m_gap=2.0),
    ]
    figure = search_plots.history(mixed)
    assert list(trace(figure, "best so far").y) == [5.0, 5.0, 5.0, 2.0]
    failure = trace(figure, "failed (at the lower edge)")
    assert list(failure.x) == [2]
    assert failure.y[0] < 0
    assert figure.layout.yaxis.range[0] < failure.y[0]


def test_a_pruned_trial_stands_at_its_last_phase() -> None:
    figure = search_plots.history(rows())
    pruned = trace(figure, "pruned (last phase)")
    assert (list(pruned.x), list(pruned.y)) == ([10], [6.5])
    assert "last phase" in pruned.hovertext[0]


def test_scattered_hyperparameters_have_logarithmic_axes_where_they_span_decades() -> None:
    figure = value_plots.hyperparameter_scatter(rows())
    assert figure.layout.xaxis.title.text == "learning_rate"
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.xaxis2.title.text == "samples_per_class"
    assert figure.layout.xaxis2.type == "linear"


def test_words_are_categories() -> None:
    mixed = [toy_row(n, {"direction": "kl" if n else "reference"}) for n in range(3)]
    figure = value_plots.hyperparameter_scatter(mixed)
    assert figure.layout.xaxis.type == "category"
    assert list(figure.layout.xaxis.categoryarray) == ["kl", "reference"]


def test_a_hover_text_says_trial_figures_and_hyperparameters() -> None:
    text = trials.label(rows()[3])
    for part in ("trial 3", "forget 7.5 %", "gap 4.0 points", "only looked at", "learning_rate"):
        assert part in text


def test_a_hover_text_escapes_what_others_wrote() -> None:
    text = trials.label(toy_row(1, {"x": "<a>"}, state="crashed", reason="<script>bad</script>"))
    assert "<script" not in text
    assert "<a>" not in text
    assert "&lt;script&gt;" in text


def test_parallel_coordinates_put_logarithms_on_axes_with_plain_labels() -> None:
    figure = value_plots.parallel(rows())
    rate = figure.data[0].dimensions[0]
    assert rate.label == "learning_rate"
    assert rate["values"][0] == pytest.approx(-1)
    assert "0.001" in rate.ticktext
    labels = [dimension.label for dimension in figure.data[0].dimensions]
    assert labels[-3:] == ["forget (%)", "retain (%)", "gap (points)"]


def test_importances_have_their_intervals() -> None:
    found = [Importance("a", 0.75, 0.5, 0.9, 20), Importance("b", 0.25, 0.1, 0.5, 20)]
    bar = value_plots.importances(found, "gap").data[0]
    assert list(bar.y) == ["b", "a"]
    assert list(bar.x) == [25.0, 75.0]
    assert list(bar.error_x.array) == pytest.approx([25.0, 15.0])
    assert list(bar.error_x.arrayminus) == pytest.approx([15.0, 25.0])


def test_states_are_counted() -> None:
    bar = time_plots.states(rows()).data[0]
    assert dict(zip(bar.y, bar.x, strict=True)) == {"complete": 10, "pruned": 1, "diverged": 1}


def test_times_are_stacked_in_seconds() -> None:
    figure = time_plots.times(rows())
    assert figure.layout.barmode == "stack"
    assert list(trace(figure, "unlearning").y) == [0.5] * 12
    assert list(trace(figure, "waiting for a worker").y) == [0.1] * 10
    assert titles(figure, "yaxis") == ["time (seconds)"]


def test_trials_at_the_same_time_lie_in_lanes_of_their_own() -> None:
    assert time_plots.lanes([(0, 5), (1, 2), (2, 3), (4, 6), (5, 7)]) == [0, 1, 1, 1, 0]


def test_a_timeline_of_hairs_is_left_out() -> None:
    assert time_plots.timeline(rows()) is not None
    later = {"started": rows()[0]["started"].replace(year=2030)}
    later["finished"] = rows()[0]["finished"].replace(year=2030)
    assert time_plots.timeline([rows()[0], toy_row(1, **later)]) is None


def test_a_sweep_over_one_has_means_error_bars_and_the_retrained_line() -> None:
    points = [point((1e-4,), 4.0, 6.0), point((1e-1,), 2.0, 2.0)]
    figure = sensitivity_plot(points, ["learning_rate"], "test", {"test_gap": 0.5}, "A title")
    gaps = trace(figure, "gap (points)")
    assert list(gaps.y) == [5.0, 2.0]
    assert list(gaps.error_y.array) == pytest.approx([2**0.5, 0.0])
    assert figure.layout.xaxis4.type == "log"
    assert list(trace(figure, "retrained model").y) == [0.5, 0.5]
    assert trace(figure, "retrained model").line.dash == "dash"
    assert figure.layout.title.text == "A title"
    assert titles(figure, "yaxis") == [
        "forget accuracy (%), test",
        "retain accuracy (%), test",
        "MIA, called members (%), test",
        "gap (points), test",
    ]


def test_a_narrow_sweep_is_linear_and_words_are_categories() -> None:
    narrow = sensitivity_plot([point((1,), 1.0), point((3,), 1.0)], ["generators"])
    assert narrow.layout.xaxis.type == "linear"
    words = sensitivity_plot([point(("kl",), 1.0), point(("mse",), 2.0)], ["loss"])
    assert words.layout.xaxis.type == "category"


def test_failed_points_of_a_sweep_are_marked() -> None:
    points = [point((1,), 1.0), point((2,), 1.0, state="diverged")]
    figure = sensitivity_plot(points, ["generators"])
    marks = [item for item in figure.data if item.legendgroup == "failed"]
    assert [list(item.x) for item in marks] == [[2]] * 4
    assert "1 diverged" in marks[0].hovertext[0]
    assert sum(bool(item.showlegend) for item in marks) == 1


def test_a_synthetic_sweep_has_no_mia() -> None:
    row = toy_row(0, m_synthetic_gap=1.0, m_synthetic_forget_accuracy=2.0)
    figure = sensitivity_plot([Point((1,), [row])], ["generators"], "synthetic")
    assert len(figure.data) == 3


def test_a_sweep_over_two_is_a_map_for_each_metric() -> None:
    grid = [point((x, y), float(10 * x + y)) for x in (1, 2) for y in (1, 2, 3)]
    figure = sensitivity_plot(grid, ["generators", "epochs"])
    maps = [item for item in figure.data if item.type == "heatmap"]
    assert len(maps) == 4
    assert [list(line) for line in maps[3].z] == [[11.0, 21.0], [12.0, 22.0], [13.0, 23.0]]
    assert list(maps[3].x) == ["1", "2"]


def test_a_design_that_is_no_grid_is_points() -> None:
    scattered = [point((x, x * x), 1.0) for x in (1, 2, 3, 4, 5)]
    figure = sensitivity_plot(scattered, ["a", "b"])
    assert {item.type for item in figure.data} == {"scatter"}


@pytest.mark.parametrize(
    ("points", "names", "split"),
    [
        ([], ["a"], "test"),
        ([point((1, 2, 3), 1.0)], ["a", "b", "c"], "test"),
        ([point((1,), 1.0)], ["a"], "training"),
    ],
)
def test_what_cannot_be_plotted_is_told_in_one_line(
    points: list[Point], names: list[str], split: str
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        sensitivity_plot(points, names, split)
    assert "\n" not in str(refusal.value)


def test_a_class_map_has_unlearned_beside_retrained_on_one_scale() -> None:
    repeats = [toy_row(n, test_class_accuracy=[float(n), 90.0, None]) for n in (0, 2)]
    retrained = {"test_class_accuracy": [0.0, 95.0, 97.0]}
    targets = [Target(0, repeats, retrained), Target(2, reason="it failed <b>")]
    figure = class_map(targets, ["a", "<b>", "c"])
    unlearned, reference = figure.data
    assert [list(line) for line in unlearned.z] == [[1.0, 90.0, None], [None, None, None]]
    assert list(reference.z[0]) == [0.0, 95.0, 97.0]
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 100)
    assert list(figure.layout.xaxis.ticktext) == ["a", "&lt;b&gt;", "c"]
    assert list(figure.layout.yaxis.ticktext) == ["a", "c (failed)"]
    assert "it failed &lt;b&gt;" in unlearned.hovertext[1][0]
    assert unlearned.texttemplate


def test_a_class_map_of_many_classes_has_no_numbers() -> None:
    targets = [Target(0, [toy_row(0, test_class_accuracy=[50.0] * 30)])]
    assert class_map(targets, [str(n) for n in range(30)]).data[0].texttemplate is None


def test_class_bars_stand_by_split_and_model() -> None:
    found = {"validation": {"unlearned": [1.0, 2.0], "retrained": [3.0, None]}, "test": {}}
    figure = class_plots.class_bars(found, ["a", "b"], [1])
    assert [list(item.y) for item in figure.data] == [[1.0, 2.0], [3.0, None]]
    assert list(figure.layout.xaxis.ticktext) == ["a", "b (forget)"]


def test_repeats_have_mean_deviation_and_what_the_search_saw() -> None:
    figure = repeat_plots.repeats(
        {"trial 3": ([1.0, 3.0], 0.5), "no. 2": ([], None)}, "gap (points)"
    )
    mean = trace(figure, "mean ± standard deviation")
    assert (list(mean.x), list(mean.y)) == (["trial 3"], [2.0])
    assert list(mean.error_y.array) == pytest.approx([2**0.5])
    assert list(trace(figure, "in the search, once").y) == [0.5]


def test_phases_draw_each_trial_apart() -> None:
    assert curves.has_curves(rows())
    figure = curves.phases(rows(), best=0)
    gaps = figure.data[-1]
    assert (list(gaps.x), list(gaps.y)) == ([1, 2, None], [7.0, 6.5, None])
    assert not curves.has_curves(rows()[:10])


def test_training_has_a_line_for_each_model() -> None:
    figure = curves.training({"original": DESCRIBED["training_curves"]["base"]})
    assert [list(item.y) for item in figure.data] == [[1.5] * 3, [50.0] * 3]


def test_studies_side_by_side() -> None:
    two = {"one": rows()[:3], "two": rows()[3:6]}
    progress = studies.progress(two, "validation")
    assert [list(item.y) for item in progress.data] == [[1.0] * 3, [4.0] * 3]
    figure = studies.fronts(two, {name: found[:1] for name, found in two.items()}, {}, "validation")
    assert list(figure.data[0].x) == [0.0]
    assert list(figure.data[3].x) == [7.5, 10.0, 12.5]
    costs = studies.costs(two, {"one": rows()[0]}, "validation")
    assert list(costs.data[0].marker.line.width) == [2, 0, 0]


def test_a_written_figure_is_one_file_that_needs_no_network(tmp_path: Path) -> None:
    path = tmp_path / "plot.html"
    write_figure(time_plots.states(rows()), path)
    text = path.read_text()
    assert '"format": "svg"' in text
    assert '"select2d", "sendChartToCloud"]' in text  # the button that uploads is not there
    assert "<script src" not in text
    assert 'src="http' not in text
    assert [item.name for item in tmp_path.iterdir()] == ["plot.html"]
