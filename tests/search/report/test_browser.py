"""Pages in a real browser: they draw, tell, filter and sort, and ask nothing of the network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("plotly")
pytest.importorskip("jinja2")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import sync_playwright

from search.report import comparison_page, study_page
from tests.search.report.samples import write_sample

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path")

ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


class Opened:
    """A page, with what went wrong in it and what it asked for."""

    def __init__(self, context: Any, path: Path) -> None:
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page = context.new_page()
        self.page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)

    def numbers(self) -> list[int]:
        """The trials in the table, in their order."""
        found = self.page.eval_on_selector_all(
            "#trials tbody tr:not([hidden])", "rows => rows.map(row => Number(row.dataset.number))"
        )
        return list(found)

    def points(self, plot: str) -> int:
        """How many trials a plot shows."""
        script = (
            "element => element.data.filter(trace => trace.meta === 'trials')"
            ".reduce((sum, trace) => sum + trace.x.length, 0)"
        )
        return int(self.page.eval_on_selector(f"#{plot}", script))

    @property
    def shown(self) -> str:
        return str(self.page.inner_text("#shown"))


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with sync_playwright() as driver:
        opened = driver.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("profile")),
            executable_path=CHROMIUM,
            headless=True,
            args=list(ARGUMENTS),
            viewport={"width": 1300, "height": 900},
        )
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    write_sample(root)
    return root


@pytest.fixture(scope="module")
def opened(context: Any, root: Path) -> Opened:
    path = root / "page.html"
    path.write_text(study_page(root, "toy"))
    return Opened(context, path)


@pytest.fixture
def study(opened: Opened) -> Iterator[Opened]:
    """The open page of the study; the filter is taken back afterwards."""
    yield opened
    opened.page.click("#filter-reset")
    opened.page.wait_for_function("document.getElementById('shown').value === '12 of 12 trials'")


def test_every_plot_is_drawn_without_an_error_or_a_request(study: Opened) -> None:
    assert study.errors == []
    assert [url for url in study.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    drawn = study.page.eval_on_selector_all(
        ".drawing", "all => all.map(one => [one.id, one.querySelectorAll('svg.main-svg').length])"
    )
    assert drawn
    assert all(count for _, count in drawn)


def test_no_button_sends_a_figure_away(study: Opened) -> None:
    buttons = study.page.eval_on_selector_all(
        "#pareto .modebar-btn", "all => all.map(one => one.dataset.title)"
    )
    assert "Download plot" in buttons
    assert not [title for title in buttons if "Share" in title]


def test_a_comparison_is_drawn_without_an_error_or_a_request(context: Any, root: Path) -> None:
    path = root / "comparison.html"
    path.write_text(comparison_page(root, ["toy"]))
    comparison = Opened(context, path)
    assert comparison.errors == []
    assert [url for url in comparison.requests if not url.startswith("file:")] == []
    assert comparison.page.locator(".drawing svg.main-svg").count()
    comparison.page.close()


def test_a_point_under_the_pointer_tells_its_trial(study: Opened) -> None:
    study.page.locator("#pareto").scroll_into_view_if_needed()
    box = study.page.locator("#pareto .point").nth(5).bounding_box()
    assert box is not None
    study.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    told = study.page.locator("#pareto .hoverlayer .hovertext")
    told.wait_for()
    text = told.text_content() or ""
    assert "trial" in text
    assert "learning_rate" in text


def test_the_filter_by_forget_accuracy_leaves_rows_and_points(study: Opened) -> None:
    study.page.fill("#filter-forget", "5")
    assert study.numbers() == [0, 1, 2]
    assert study.shown == "3 of 12 trials"
    assert study.points("pareto") == 3
    assert study.points("history") == 3
    assert study.points("hyperparameters") == 6


def test_the_filters_go_together(study: Opened) -> None:
    study.page.fill("#filter-gap", "6.5")
    assert study.numbers() == [0, 1, 2, 3, 4, 5, 10]
    study.page.select_option("#filter-state", "pruned")
    assert study.numbers() == [10]
    assert study.points("history") == 1
    assert study.points("pareto") == 0


def test_a_filter_taken_back_brings_all_back(study: Opened) -> None:
    study.page.fill("#filter-gap", "0")
    assert study.shown == "0 of 12 trials"
    study.page.fill("#filter-gap", "")
    assert study.shown == "12 of 12 trials"
    assert study.points("history") == 12


def test_the_table_sorts_both_ways_with_what_is_missing_last(study: Opened) -> None:
    button = study.page.locator("#trials thead button", has_text="gap").first
    button.click()
    assert study.numbers()[:3] == [0, 1, 2]
    button.click()
    assert study.numbers()[:3] == [9, 8, 7]
    assert set(study.numbers()[-2:]) == {10, 11}
    heading = study.page.locator("#trials th[aria-sort]")
    assert heading.get_attribute("aria-sort") == "descending"


def test_in_print_controls_go_and_plots_fit_the_page(study: Opened) -> None:
    study.page.emulate_media(media="print")
    study.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert not study.page.is_visible("#filter")
    assert not study.page.is_visible(".contents")
    widths = study.page.eval_on_selector_all(
        ".drawing svg.main-svg", "all => all.map(one => one.getBoundingClientRect().width)"
    )
    assert max(widths) <= 680
    study.page.evaluate("dispatchEvent(new Event('afterprint'))")
    study.page.emulate_media(media="screen")
    wide = study.page.eval_on_selector("#pareto", "one => one._fullLayout.width")
    assert wide > 700
