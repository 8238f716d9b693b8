"""Pages as text: what they say, what they leave out, and that nothing gets out of its place."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

pytest.importorskip("plotly")
pytest.importorskip("jinja2")

from search.designs.repeats import Origin
from search.report import comparison_page, study_page
from search.report.gather import gather
from search.report.page import as_json, ticked
from search.report.study import grouped_reasons
from search.store import results
from search.store.results import Row
from tests.search.report.samples import CLASSES, describe, rows, write_related, write_sample
from tests.search.toys import Holder, only_line, run_study, toy_row, write_study
from trainables.errors import InvalidRequest

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def without_plotly(page: str) -> str:
    """The page but for the text of plotly.js, which is not ours."""
    found = re.sub(r'<script id="plotly-js">.*?</script>', "", page, count=1, flags=re.DOTALL)
    assert len(found) < len(page) / 2
    return found


def sections(page: str) -> list[str]:
    return re.findall(r'<section id="([^"]+)">', page)


def words(page: str) -> str:
    """What a reader sees, without tags and on one line."""
    text = re.sub(r"<(script|style)\b.*?</\1>", " ", without_plotly(page), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", text)).split())


def test_a_full_page_has_all_its_sections_in_order(tmp_path: Path) -> None:
    write_sample(tmp_path)
    previews = tmp_path / "study=toy" / "previews"
    previews.mkdir()
    (previews / "gans.png").write_bytes(b"\x89PNG")
    page = study_page(tmp_path, "toy")
    assert sections(page) == [
        *("overview", "front", "best", "course", "sensitivity", "by-class", "confirmed", "phases"),
        *("training", "states-and-failures", "time", "previews", "all-trials", "reproduce"),
    ]
    for name in ("pareto", "history", "trials", "filter-forget", "filter-gap", "filter-state"):
        assert page.count(f'id="{name}"') == 1
    assert '<output id="shown">12 of 12 trials</output>' in page
    assert "data:image/png;base64," in page


def test_ids_are_unique(tmp_path: Path) -> None:
    write_sample(tmp_path)
    ids = re.findall(r'\sid="([^"]+)"', without_plotly(study_page(tmp_path, "toy")))
    assert len(ids) == len(set(ids))


def test_contents_lead_to_sections(tmp_path: Path) -> None:
    write_sample(tmp_path)
    page = without_plotly(study_page(tmp_path, "toy"))
    assert re.findall(r'<a href="#([^"]+)"', page) == sections(page)


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    write_sample(tmp_path)
    for page in (study_page(tmp_path, "toy"), comparison_page(tmp_path, ["toy"])):
        ours = without_plotly(page)
        assert "http://" not in ours
        assert "https://" not in ours
        assert not re.search(r"<(script|link|iframe|img)\b[^>]*\b(src|href)=\"(?!data:)", ours)
        assert "default-src 'none'" in ours


def test_plotly_is_in_the_page_once(tmp_path: Path) -> None:
    write_sample(tmp_path)
    assert study_page(tmp_path, "toy").count("* plotly.js v") == 1


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    hostile = [
        toy_row(0, {"direction": HOSTILE}),
        toy_row(1, {"direction": "kl"}),
        toy_row(2, {"direction": "kl"}, state="crashed", reason=HOSTILE),
    ]
    folder = write_study(tmp_path, hostile)
    describe(folder, classes=[HOSTILE] * 10, versions={HOSTILE: HOSTILE})
    page = without_plotly(study_page(tmp_path, "toy"))
    assert "<img src=x" not in page
    assert "<script>alert" not in page
    assert html.escape(HOSTILE) in page
    comparison = without_plotly(comparison_page(tmp_path, ["toy"]))
    assert "<script>alert" not in comparison


def test_a_hostile_folder_name_stays_text(tmp_path: Path) -> None:
    name = "a<b>&'\""
    write_study(tmp_path, [toy_row(0)], "toy")
    (tmp_path / "study=toy").rename(tmp_path / f"study={name}")
    page = without_plotly(study_page(tmp_path, name))
    assert "a<b>" not in page
    assert html.escape("a<b>&") in page


def test_json_cannot_end_its_script() -> None:
    text = str(as_json({"a": "</script>&<!--"}))
    assert "<" not in text
    assert json.loads(text) == {"a": "</script>&<!--"}


def test_backticks_are_code_and_the_rest_is_escaped() -> None:
    assert ticked("run `a <b>` <now>") == "run <code>a &lt;b&gt;</code> &lt;now&gt;"
    assert ticked("one ` alone") == "one ` alone"


def test_selection_and_looking_are_kept_apart(tmp_path: Path) -> None:
    write_sample(tmp_path)
    text = words(study_page(tmp_path, "toy"))
    assert "validation (chose)" in text
    assert "test (only looked at)" in text


def test_a_study_steered_by_synthetic_images_says_so(tmp_path: Path) -> None:
    synthetic = [
        toy_row(
            number,
            {"learning_rate": 10.0**-number},
            objective="synthetic",
            m_synthetic_forget_accuracy=1.0 * number,
            m_synthetic_retain_accuracy=90.0,
            m_synthetic_gap=1.0 + number,
        )
        for number in range(1, 5)
    ]
    write_study(tmp_path, synthetic, objective="synthetic")
    page = study_page(tmp_path, "toy")
    assert "synthetic images (chose)" in words(page)
    assert "validation (only looked at)" in words(page)
    assert "tau 1.00" in page
    assert "agreement" in sections(page)


@pytest.mark.parametrize(
    ("sampler", "said"), [("tpe", "no sensitivity curve"), ("sobol", "not biased")]
)
def test_the_bias_of_samplers_is_told(tmp_path: Path, sampler: str, said: str) -> None:
    write_study(tmp_path, [row | {"sampler": sampler} for row in rows()])
    assert said in words(study_page(tmp_path, "toy"))


def test_a_study_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_sample(tmp_path)
    with pytest.raises(InvalidRequest, match="toi") as refusal:
        study_page(tmp_path, "toi")
    assert "toy" in only_line(str(refusal.value))


def test_a_study_without_settled_trials_is_refused(tmp_path: Path) -> None:
    write_study(tmp_path, [])
    with pytest.raises(InvalidRequest, match="no trials that settled") as refusal:
        study_page(tmp_path, "toy")
    only_line(str(refusal.value))
    with pytest.raises(InvalidRequest, match="no trials that settled"):
        comparison_page(tmp_path, ["toy"])


def test_a_study_of_failures_says_so_and_why(tmp_path: Path) -> None:
    failures: list[Row] = [
        toy_row(n, state="starved", reason=f"of {n} samples only 3 are left") for n in range(4)
    ]
    write_study(tmp_path, failures)
    page = study_page(tmp_path, "toy")
    assert "No trial completed (4 starved)" in words(page)
    assert "front" not in sections(page)
    assert "states-and-failures" in sections(page)


def test_reasons_that_differ_in_numbers_are_one() -> None:
    found = grouped_reasons(
        [
            toy_row(0, state="starved", reason="of 133 only 8"),
            toy_row(1, state="oom", reason="no memory"),
            toy_row(2, state="starved", reason="of 20 only 1.5e-3"),
            toy_row(3, state="pruned"),
        ]
    )
    assert found == [("starved", "of 133 only 8", [0, 2]), ("oom", "no memory", [1])]


def test_a_single_trial_is_told(tmp_path: Path) -> None:
    write_study(tmp_path, [toy_row(0)])
    page = study_page(tmp_path, "toy")
    assert "Only one trial completed" in words(page)
    assert "best" in sections(page)


def test_a_running_study_is_told(tmp_path: Path) -> None:
    run_study(tmp_path, trials=2)
    with Holder(tmp_path, running=1) as holder:
        text = words(study_page(tmp_path, "toy"))
    assert f"still running (process {holder.pid}" in text
    assert "2 of 6 trials have settled" in text


def test_an_unfinished_study_is_told(tmp_path: Path) -> None:
    write_study(tmp_path, rows()[:3], trials=50)
    assert "3 of 50 trials have settled" in words(study_page(tmp_path, "toy"))


@pytest.mark.parametrize("content", [None, "not json", "[]", '{"spec": 3}', '{"spec": {}}'])
def test_without_study_json_the_rest_is_there(tmp_path: Path, content: str | None) -> None:
    folder = write_sample(tmp_path)
    path = folder / "study.json"
    path.unlink() if content is None else path.write_text(content)
    page = study_page(tmp_path, "toy")
    assert "study.json is missing or not readable" in words(page)
    assert {"front", "best", "all-trials"} <= set(sections(page))
    comparison_page(tmp_path, ["toy"])


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    folder = write_sample(tmp_path)
    (folder / "trials" / "part-000099-1.parquet").write_bytes(b"broken")
    assert "part-000099-1.parquet: not a readable part" in words(study_page(tmp_path, "toy"))


def test_what_is_not_there_is_left_out_with_the_command_that_makes_it(tmp_path: Path) -> None:
    write_sample(tmp_path)
    text = words(study_page(tmp_path, "toy"))
    assert "forgetune sensitivity learning_rate --study toy" in text
    assert "forgetune classes --study toy" in text
    assert "forgetune compare mugan" in text


def test_sweeps_of_the_same_method_and_scenario_are_shown(tmp_path: Path) -> None:
    write_sample(tmp_path)  # of its trials number 8 has 500 samples for each class
    swept = [toy_row(n, {"learning_rate": 10.0 ** -(n // 2 + 1)}) for n in range(6)]
    space = {"learning_rate": [0.1, 0.01, 0.001], "samples_per_class": 500}
    write_related(tmp_path / "sweeps", "swept", swept, space, [Origin("toy", 8)])
    write_related(tmp_path / "sweeps", "other", swept, space, [Origin("toy", 8)], forget=[7])
    page = study_page(tmp_path, "toy")
    assert page.count("Designed sweep over") == 1
    assert 'id="sensitivity-0"' in page
    assert "There is no designed sweep" not in page


def test_a_damaged_sweep_is_told_and_stops_nothing(tmp_path: Path) -> None:
    write_sample(tmp_path)
    folder = write_related(tmp_path / "sweeps", "swept", rows()[:2], {"learning_rate": [1, 2]})
    (folder / "study.json").write_text("{")
    assert "swept/study.json is missing or not readable" in words(study_page(tmp_path, "toy"))


def test_a_map_over_classes_is_shown(tmp_path: Path) -> None:
    write_sample(tmp_path)
    for label in (2, 5):
        found = [toy_row(0, test_class_accuracy=[90.0] * 10, class_accuracy=[91.0] * 10)]
        defaults = [Origin("toy")]
        write_related(tmp_path / "classes", f"forget-{label}", found, {}, defaults, forget=[label])
    page = study_page(tmp_path, "toy")
    assert "A line for each forgotten class" in page
    assert CLASSES[5] in page
    assert "forgetune classes" not in words(page)


def confirm(root: Path) -> None:
    for index, rate in enumerate((0.1, 0.01)):
        configuration = {"learning_rate": rate, "samples_per_class": 100 + 50 * index}
        found = [toy_row(n, configuration, m_gap=2.0 + n, m_test_gap=3.0 + n) for n in range(3)]
        name = f"toy-{index}-base-1"
        write_related(root / "confirmed", name, found, dict(configuration), seed=1)


def test_repeats_are_shown_beside_what_the_search_saw(tmp_path: Path) -> None:
    write_sample(tmp_path)
    confirm(tmp_path)
    page = study_page(tmp_path, "toy")
    assert 'id="repeats"' in page
    text = words(page)
    assert "trial 1: learning_rate=0.01 samples_per_class=150" in text
    assert "3.0 ± 1.0" in text


REPEATED = {"learning_rate": 0.1, "samples_per_class": 100}
"""Trial 0 of `rows`, and so of every sample."""


def repeat(root: Path, name: str, gap: float, made_from: list[Origin]) -> None:
    """Three repeats of `REPEATED` whose gap is on average this; deviation 1."""
    found = [toy_row(n, REPEATED, m_gap=gap - 1 + n, m_test_gap=gap - 1 + n) for n in range(3)]
    write_related(root / "confirmed", name, found, dict(REPEATED), made_from)


def test_what_another_studys_trial_made_is_not_this_studys(tmp_path: Path) -> None:
    """The small study's best gap is 8.1. The large one's best was repeated with 0.9 ± 1.0, swept
    and forgotten class by class; the two are of one method and one scenario, and the small one has
    a trial with the same hyperparameters."""
    write_sample(tmp_path, "large")
    write_study(tmp_path, [toy_row(n, REPEATED, m_gap=8.1 + n) for n in range(5)], "small")
    origin = [Origin("large", 0)]
    repeat(tmp_path, "large-0-base-0", 0.9, origin)
    write_related(tmp_path / "sweeps", "swept", rows()[:2], {"learning_rate": [0.1, 0.01]}, origin)
    classes = [toy_row(0, REPEATED, test_class_accuracy=[90.0] * 10)]
    write_related(tmp_path / "classes", "map", classes, {}, origin, forget=[5])

    small = gather(tmp_path, "small")
    assert (small.confirmed, small.sweeps, small.maps, small.unclaimed) == ([], [], [], {})
    page = study_page(tmp_path, "small")
    for said in ("0.9 ± 1.0", "search was lucky", "Designed sweep over", "A line for each"):
        assert said not in words(page)
    assert "forgetune compare mugan" in words(page)

    large = words(study_page(tmp_path, "large"))
    assert "0.9 ± 1.0" in large
    assert "Repeats of the best" in large
    assert "all else fixed as in trial 0 of study large" in large
    assert "mean of one repeat, with trial 0 of study large" in large


def test_one_map_of_three_studies_stands_once_with_all_it_was_made_from(tmp_path: Path) -> None:
    """Two of them are of one scenario and one forgets another class."""
    for name in ("one", "two", "seven"):
        write_sample(tmp_path, name)
    folder = tmp_path / "study=seven"
    spec = (results.load_json(folder / "study.json") or {})["spec"]
    describe(folder, spec={**spec, "scenario": {**spec["scenario"], "forget": [7]}})
    of_one, of_all = [Origin("one", 0)], [Origin("one", 0), Origin("two"), Origin("seven", 0)]
    for label, made_from in ((2, of_one), (5, of_all), (6, of_all)):
        found = [toy_row(0, REPEATED, test_class_accuracy=[90.0] * 10)]
        write_related(tmp_path / "classes", f"m{label}", found, {}, made_from, forget=[label])
    page = comparison_page(tmp_path, ["one", "two", "seven"])
    assert words(page).count("A line for each forgotten class") == 1
    assert (
        "with trial 0 of study one; the method's defaults, for study two; trial 0 of study seven ("
        in words(page)
    )
    alone = words(comparison_page(tmp_path, ["two", "seven"]))
    assert alone.count("A line for each forgotten class") == 1
    assert "study one" not in alone
    assert [t.label for m in gather(tmp_path, "two").maps for t in m.targets] == [5, 6]


def test_maps_of_two_configurations_are_two(tmp_path: Path) -> None:
    write_sample(tmp_path)
    for trial in (0, 1):
        values = {"learning_rate": 10.0 ** -(1 + trial), "samples_per_class": 100 + 50 * trial}
        origin = Origin("toy", trial, {"temperature": 2.0} if trial else {})
        found = [toy_row(0, values, test_class_accuracy=[90.0] * 10)]
        write_related(tmp_path / "classes", f"m{trial}", found, {}, [origin], forget=[5])
    page = study_page(tmp_path, "toy")
    assert words(page).count("A line for each forgotten class") == 2
    assert "with trial 1 of study toy, with temperature=2.0 instead (learning_rate=0.01" in words(
        page
    )
    ids = re.findall(r'\sid="([^"]+)"', without_plotly(page))
    assert len(ids) == len(set(ids))


def test_a_map_with_a_search_for_each_class_says_so(tmp_path: Path) -> None:
    write_sample(tmp_path)
    for label in (2, 5):
        values = {"learning_rate": 0.1 * label}
        origin = Origin("toy", label, {}, searched=f"forget-{label}")
        found = [toy_row(0, values, test_class_accuracy=[90.0] * 10)]
        write_related(tmp_path / "classes", f"m{label}", found, {}, [origin], forget=[label])
    text = words(study_page(tmp_path, "toy"))
    assert text.count("A line for each forgotten class") == 1
    assert "the best of a search for each class, for study toy (each with a configuration" in text


def test_repeats_that_are_not_of_the_best_are_called_by_their_trial(tmp_path: Path) -> None:
    """As when the study went on after it was compared, and found a better one."""
    write_study(tmp_path, [toy_row(0, REPEATED, m_gap=3.0), toy_row(1, m_gap=1.0)])
    repeat(tmp_path, "x", 2.0, [Origin("toy", 0)])
    text = words(study_page(tmp_path, "toy"))
    assert "Repeats of trial 0" in text
    assert "The best of the study, trial 1, has not been repeated" in text
    assert "Repeats of the best" not in text


@pytest.mark.parametrize(
    ("name", "kept"),
    [("toy-0-base-0", True), ("toy-1-base-0", False), ("toy-0-base-1", False), ("x", False)],
)
def test_repeats_of_an_earlier_version_are_shown_where_their_name_is_certain(
    tmp_path: Path, name: str, kept: bool
) -> None:
    """Trial 0 of base model 0 was repeated; of the others the name belies what they hold."""
    write_sample(tmp_path)
    write_sample(tmp_path, "other")
    repeat(tmp_path, name, 2.0, [])
    for pages in ([study_page(tmp_path, "toy")], [comparison_page(tmp_path, ["toy", "other"])]):
        text = words(pages[0])
        assert ("2.0 ± 1.0" in text) is kept
        assert text.count(
            f"not known which study they were made from: 1 in confirmed ({name})"
        ) == (0 if kept else 1)
    assert "2.0 ± 1.0" not in words(study_page(tmp_path, "other"))


def test_what_an_earlier_version_made_is_left_out_with_a_sentence(tmp_path: Path) -> None:
    write_sample(tmp_path)
    for label in range(5):
        found = [toy_row(0, REPEATED, test_class_accuracy=[90.0] * 10)]
        write_related(tmp_path / "classes", f"map-{label}", found, {}, forget=[label])
    write_related(tmp_path / "sweeps", "swept", rows()[:2], {"learning_rate": [0.1, 0.01]})
    write_related(tmp_path / "sweeps", "others", rows()[:2], {"learning_rate": [1]}, seed=7)
    text = words(study_page(tmp_path, "toy"))
    assert "made from: 5 in classes (map-0, map-1, map-2, ...). The command that made them" in text
    assert "made from: 1 in sweeps (swept). The command" in text
    assert "Designed sweep over" not in text
    assert "A line for each forgotten class" not in text


def test_what_an_earlier_study_of_the_name_made_is_not_this_ones(tmp_path: Path) -> None:
    """The study was deleted and made anew: its trial 0 is another one."""
    write_study(tmp_path, [toy_row(0, {"learning_rate": 0.7}, m_gap=3.0)])
    repeat(tmp_path, "toy-0-base-0", 2.0, [Origin("toy", 0)])
    repeat(tmp_path, "toy-9-base-0", 2.0, [Origin("toy", 9)])
    text = words(study_page(tmp_path, "toy"))
    assert "2.0 ± 1.0" not in text
    assert "2 in confirmed (toy-0-base-0, toy-9-base-0)" in text


def test_a_comparison_says_of_which_trial_repeats_are(tmp_path: Path) -> None:
    write_sample(tmp_path, "one")
    write_sample(tmp_path, "two")
    repeat(tmp_path, "a", 2.0, [Origin("one", 0)])
    repeat(tmp_path, "b", 5.0, [Origin("two", 0)])
    text = words(comparison_page(tmp_path, ["one", "two"]))
    assert text.count("mugan, trial 0 of study one") == 1
    assert text.count("mugan, trial 0 of study two") == 1
    assert "2.0 ± 1.0" in text
    assert "5.0 ± 1.0" in text


def test_a_comparison_takes_repeats_where_there_are_any(tmp_path: Path) -> None:
    write_sample(tmp_path)
    without = words(comparison_page(tmp_path, ["toy"]))
    assert "partly luck. forgetune compare METHOD" in without
    confirm(tmp_path)
    with_repeats = words(comparison_page(tmp_path, ["toy"]))
    assert "4.0 ± 1.0" in with_repeats
    assert "forgetune compare METHOD" not in with_repeats


def test_scenarios_are_compared_apart(tmp_path: Path) -> None:
    write_sample(tmp_path, "one")
    folder = write_sample(tmp_path, "two")
    described = results.load_json(folder / "study.json") or {}
    scenario = {**described["spec"]["scenario"], "forget": [7]}
    describe(folder, spec={**described["spec"], "scenario": scenario})
    page = comparison_page(tmp_path, ["one", "two"])
    assert sections(page) == ["overview", "scenario-1", "scenario-2"]
    assert "These studies are of 2 scenarios" in words(page)
    assert f"forgetting class {CLASSES[7]}" in words(page)


def test_studies_of_one_scenario_are_compared_together(tmp_path: Path) -> None:
    write_sample(tmp_path, "one")
    write_sample(tmp_path, "two")
    write_study(tmp_path, [], "empty")
    page = comparison_page(tmp_path, ["one", "two", "empty"])
    assert sections(page) == ["overview", "scenario-1"]
    assert "study empty has no trials that settled yet" in words(page)
    ids = re.findall(r'\sid="([^"]+)"', without_plotly(page))
    assert len(ids) == len(set(ids))


def test_nothing_to_compare_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest):
        comparison_page(tmp_path, [])
    with pytest.raises(InvalidRequest):
        comparison_page(tmp_path, ["missing"])


def test_the_specification_is_toml_that_can_be_run_again(tmp_path: Path) -> None:
    import tomllib

    from search.definition.reading import validate

    folder = write_sample(tmp_path)
    page = without_plotly(whole := study_page(tmp_path, "toy"))
    text = re.search(r"<pre><code>(.*?)</code></pre>", page, flags=re.DOTALL)
    assert text is not None
    spec = validate(tomllib.loads(html.unescape(text[1])))
    described = results.load_json(folder / "study.json") or {}
    assert spec.model_dump(mode="json") == described["spec"]
    assert "forgetune trial best.toml --seed 1000" in words(whole)


def test_a_class_map_is_of_one_configuration_where_there_is_one_for_several_classes(
    tmp_path: Path,
) -> None:
    """Class 0 was forgotten with two configurations, and last with the other one."""
    write_study(
        tmp_path, [toy_row(n, {"learning_rate": [0.1, 0.9][n]}) for n in (0, 1)], "searched"
    )
    for name, forget, rate, seconds in (
        ("a", 0, 0.1, 0),
        ("b", 1, 0.1, 1),
        ("c", 0, 0.9, 2),
    ):
        row = toy_row(0, {"learning_rate": rate}, test_class_accuracy=[50.0] * 10)
        row["finished"] = results.timestamp(1_800_000_000.0 + seconds)
        scenario = {"forget": [forget]}
        folder = write_study(tmp_path / "classes", [row], name, scenario=scenario)
        describe(folder, made_from=[Origin("searched", 0 if rate == 0.1 else 1).stored()])
    first, second = gather(tmp_path, "searched").maps
    assert [target.label for target in first.targets] == [0, 1]
    assert {target.configuration["learning_rate"] for target in first.targets} == {0.1}
    assert first.made_from == "trial 0 of study searched"
    assert [target.label for target in second.targets] == [0]
    assert second.made_from == "trial 1 of study searched"


@pytest.mark.parametrize("steps", [500, 900])
def test_gaps_on_images_of_unlike_generators_are_said_not_to_compare(
    tmp_path: Path, steps: int
) -> None:
    figures = {f"m_synthetic_{name}": 5.0 for name in ("forget_accuracy", "retain_accuracy", "gap")}
    for name, number in (("one", 500), ("two", steps)):
        found = [toy_row(n, objective="synthetic", **figures) for n in range(2)]
        given = {"objective": "synthetic", "inversion": {"steps": number}}
        write_study(tmp_path, found, name, **given)
    text = words(comparison_page(tmp_path, ["one", "two"]))
    assert ("their gaps do not compare" in text) is (steps != 500)
