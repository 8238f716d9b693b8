"""The `forgetune` command: what it prints, what it refuses in one line, what it never imports."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

from search import cli
from search.analysis.compare import Entry
from search.definition.reading import load_spec, validate
from search.definition.resolving import resolve
from search.ledger.ledger import Ledger
from search.show.progress import Progress
from search.store import results
from search.study import Study
from tests.search.toys import (
    NOWHERE,
    only_line,
    run_study,
    settle,
    stored,
    toy_metrics,
    toy_row,
    toy_spec,
    write_study,
)
from trainables.data.sources import read
from trainables.errors import InvalidRequest
from trainables.models import catalogue
from trainables.outcome import METRICS
from trainables.scenario import Places
from trainables.workbench import Workbench


@dataclass(frozen=True)
class Said:
    """What a command came to."""

    code: int
    out: str
    err: str

    def refusal(self) -> str:
        """The one line of a refused request, without the command's name."""
        assert (self.code, self.out) == (2, ""), self
        line = only_line(self.err)
        assert line.startswith("forgetune: ")
        return line.removeprefix("forgetune: ")


Command = Callable[..., Said]


@pytest.fixture
def forgetune(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, run in this process by its entry point."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")

    def call(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["forgetune", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        said = capsys.readouterr()
        return Said(int(caught.value.code or 0), said.out, said.err)

    return call


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a study would start Ray."""

    def start(*_: object) -> None:
        raise AssertionError("Ray would be started")

    monkeypatch.setattr(Study, "_search", start)


THREE = {"width": 0.5}
"""What sets the scenario of `three` apart from the default one."""


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Results of one study: three complete trials and two that failed.

    Trial 0 has the smallest gap and the lowest retain accuracy, trial 2 the highest.
    """
    figures = [(0.0, 80.0, 1.0), (4.0, 90.0, 2.0), (40.0, 95.0, 9.0)]
    rows = [
        toy_row(n, m_forget_accuracy=forget, m_retain_accuracy=retain, m_gap=gap)
        for n, (forget, retain, gap) in enumerate(figures)
    ]
    rows += [toy_row(3, state="crashed"), toy_row(4, state="oom")]
    write_study(tmp_path / "results", rows, scenario=THREE, trials=9)
    return tmp_path / "results"


def fresh(code: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter, in a folder of its own, with nothing on its path."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "FORCE_COLOR")}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd,
        env={**env, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


IMPORTED = """
import sys
sys.argv[0] = "forgetune"
from search.cli import main
try:
    main()
finally:
    heavy = {"torch", "ray", "optuna", "sklearn"} & set(sys.modules)
    print("imported:", *sorted(heavy), file=sys.stderr)
"""


def imported(*arguments: object, cwd: Path, code: int = 0) -> set[str]:
    """Which of the heavy packages a command imports."""
    done = fresh(IMPORTED, *arguments, cwd=cwd)
    assert done.returncode == code, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("imported:")
    return set(last.split()[1:])


# Help, and what is never imported


def test_help_names_every_command_and_imports_nothing_heavy(tmp_path: Path) -> None:
    assert imported("--help", cwd=tmp_path) == set()


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_the_commands(forgetune: Command, flag: str) -> None:
    said = forgetune(flag)
    assert said.code == 0
    for name in ("run", "best", "status", "methods", "spaces", "datasets", "trial"):
        assert f" {name} " in said.out


@pytest.mark.parametrize("command", ["run", "compare", "sensitivity", "classes", "report"])
def test_help_shows_what_is_so_unless_told_otherwise(forgetune: Command, command: str) -> None:
    said = " ".join(forgetune(command, "--help").out.replace("│", " ").split())
    written = {
        "run": "tpe, gp, nsga2, random, sobol or grid [default: tpe]",
        "report": "[default: STUDY.html, or report.html of several]",
    }
    assert written.get(command, "[default: user's cache]") in said


def test_best_imports_neither_torch_nor_ray(three: Path) -> None:
    assert not imported("best", "--results", three, cwd=three) & {"torch", "ray", "optuna"}


def test_status_of_a_study_that_nobody_runs_imports_neither_torch_nor_ray(three: Path) -> None:
    assert not imported("status", "--results", three, cwd=three) & {"torch", "ray"}


def test_a_refused_run_does_not_import_ray(tmp_path: Path) -> None:
    found = imported("run", "--dataset", "digit", cwd=tmp_path, code=2)
    assert "ray" not in found
    assert list(tmp_path.iterdir()) == []


def test_the_installed_command_answers_from_any_folder(tmp_path: Path) -> None:
    (tmp_path / "search.py").write_text("raise SystemExit('not ours')")
    done = subprocess.run(
        [Path(sys.executable).with_name("forgetune"), "best"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = Said(done.returncode, done.stdout, done.stderr)
    assert said.refusal() == "there are no studies in results; `forgetune run` makes one"


# best


def test_best_shows_the_smallest_gap_first(forgetune: Command, three: Path) -> None:
    said = forgetune("best", "--results", three)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("Smallest gap ")
    shown = [line.split("│")[3].strip() for line in said.out.splitlines() if "rate=" in line]
    assert shown == ["0", "1", "2"]


def test_best_of_a_forget_accuracy_shows_the_highest_retain_accuracy_first(
    forgetune: Command, three: Path
) -> None:
    said = forgetune("best", "--forget-at-most", "4", "--results", three)
    assert said.out.startswith("Best retain accuracy with forget accuracy of at most 4 %")
    shown = [line.split("│")[3].strip() for line in said.out.splitlines() if "rate=" in line]
    assert shown == ["1", "0"]


def numbers(said: Said) -> list[int]:
    """The trials of a command's JSON output."""
    assert (said.code, said.err) == (0, "")
    return [row["number"] for row in json.loads(said.out)]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], [0, 1, 2]),
        (["--top", "2"], [0, 1]),
        (["--top", "99"], [0, 1, 2]),
        (["--forget-at-most", "100"], [2, 1, 0]),
        (["--forget-at-most", "100", "--top", "1"], [2]),
        (["--forget-at-most", "3.9"], [0]),
        (["--forget-at-most", "0"], [0]),
        (["--pareto"], [0, 1, 2]),
        (["toy", "--pareto"], [0, 1, 2]),
    ],
)
def test_best_as_json_holds_the_chosen_trials_in_order(
    forgetune: Command, three: Path, flags: list[str], expected: list[int]
) -> None:
    assert numbers(forgetune("best", *flags, "--json", "--results", three)) == expected


def test_a_pareto_front_is_shown_whole(forgetune: Command, tmp_path: Path) -> None:
    rows = [toy_row(n, m_forget_accuracy=float(n), m_retain_accuracy=50.0 + n) for n in range(9)]
    write_study(tmp_path, [*rows, toy_row(9, m_forget_accuracy=9.0, m_retain_accuracy=1.0)])
    assert numbers(forgetune("best", "--pareto", "--json", "--results", tmp_path)) == list(range(9))


def test_best_shows_five_unless_told_otherwise(forgetune: Command, tmp_path: Path) -> None:
    write_study(tmp_path, [toy_row(n) for n in range(9)])
    assert numbers(forgetune("best", "--json", "--results", tmp_path)) == [0, 1, 2, 3, 4]


def test_best_looks_at_all_studies_unless_one_is_named(forgetune: Command, three: Path) -> None:
    rows = [toy_row(7, m_gap=0.5), toy_row(8, m_gap=20.0)]
    write_study(three, rows, name="other", scenario=THREE)
    assert numbers(forgetune("best", "--json", "--results", three)) == [7, 0, 1, 2, 8]
    assert numbers(forgetune("best", "toy", "--json", "--results", three)) == [0, 1, 2]
    table = forgetune("best", "--results", three).out
    assert "other" in table
    assert "study" in table
    for arguments, name in ((["toy"], "toy"), (["--top", "1"], "other")):
        shown = forgetune("best", *arguments, "--results", three).out
        first = next(line for line in shown.splitlines() if "rate=" in line)
        assert f"│ {name} " in first, "named also where all trials shown are of one study"
        heading = shown.splitlines()[0].rstrip()
        assert heading == "Smallest gap on digits, allcnn, forgetting class 3"


def test_best_looks_into_results_of_the_current_folder(
    forgetune: Command, three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(three.parent)
    assert numbers(forgetune("best", "--json")) == [0, 1, 2]


def test_best_as_toml_is_a_specification_of_the_first(
    forgetune: Command, three: Path, tmp_path: Path
) -> None:
    said = forgetune("best", "--forget-at-most", "50", "--toml", "--results", three)
    assert (said.code, said.err) == (0, "")
    path = tmp_path / "best.toml"
    path.write_text(said.out)
    assert "trial 2 of study toy" in said.out
    spec = resolve(load_spec(path, {}), NOWHERE)
    assert spec.space == {"learning_rate": 1e-4, "samples_per_class": 500}
    assert (spec.name, spec.method, spec.scenario.width) == ("toy-best", "mugan", 0.5)


@pytest.fixture
def two_datasets(three: Path) -> Path:
    """`three`, and a study of another dataset that is better in everything, by far."""
    figures = {"m_forget_accuracy": 0.0, "m_retain_accuracy": 99.0, "m_gap": 0.1}
    rows = [toy_row(n, dataset="mnist", forget="7", **figures) for n in range(3)]
    folder = write_study(three, [*rows, toy_row(3, dataset="mnist", state="oom")], "easy")
    described = results.load_json(folder / "study.json") or {}
    described["spec"]["scenario"] |= {"dataset": "mnist", "forget": [7]}
    (folder / "study.json").write_text(json.dumps(described))
    return three


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], [0, 1, 2]),
        (["--top", "1"], [0]),
        (["--pareto"], [0, 1, 2]),
        (["--forget-at-most", "10"], [1, 0]),
    ],
)
def test_trials_of_one_dataset_are_not_ranked_against_anothers(
    forgetune: Command, two_datasets: Path, flags: list[str], expected: list[int]
) -> None:
    """The easy one's would take all places and dominate all of the others."""
    said = forgetune("best", *flags, "--json", "--results", two_datasets)
    assert (said.code, said.err) == (0, "")
    rows = json.loads(said.out)
    assert [row["number"] for row in rows if row["study"] == "toy"] == expected
    kinds = {(row["study"], row["dataset"], row["model"], row["forget"]) for row in rows}
    assert kinds == {("toy", "digits", "allcnn", "3"), ("easy", "mnist", "allcnn", "7")}
    shown = forgetune("best", *flags, "--results", two_datasets).out
    assert "on mnist, allcnn, forgetting class 7" in shown
    assert "on digits, allcnn, forgetting class 3" in shown
    lines = [line for line in shown.splitlines() if "rate=" in line]
    assert all("│ toy " in line and "│ digits " in line for line in lines if "easy" not in line)
    assert len(lines) == len(rows)


def test_of_several_scenarios_a_file_is_of_one_that_must_be_named(
    forgetune: Command, two_datasets: Path
) -> None:
    said = forgetune("best", "--toml", "--results", two_datasets)
    assert said.refusal() == (
        "there are 2 scenarios; name a study, the best of each: easy (mnist, allcnn, forgetting "
        "class 7), toy (digits, allcnn, forgetting class 3)"
    )
    named = forgetune("best", "toy", "--toml", "--results", two_datasets)
    assert "trial 0 of study toy" in named.out


def test_a_scenario_without_a_best_is_told_beside_the_others(
    forgetune: Command, two_datasets: Path
) -> None:
    write_study(two_datasets, [toy_row(0, state="oom")], "broken", scenario={"seed": 1})
    said = forgetune("best", "--json", "--results", two_datasets)
    assert {row["study"] for row in json.loads(said.out)} == {"toy", "easy"}
    assert only_line(said.err) == (
        "forgetune: digits, allcnn, forgetting class 3, width 0.25, seed 1: no trial completed "
        "(1 oom); the first said: made to end as oom"
    )
    limit = forgetune("best", "--forget-at-most", "-1", "--results", two_datasets)
    assert "width 0.5, seed 0: none of 3 trials forgets to -1 %" in limit.refusal()


@pytest.mark.parametrize("flag", ["--toml", "--json"])
def test_a_word_in_one_study_leaves_the_numbers_of_another(
    forgetune: Command, three: Path, flag: str
) -> None:
    write_study(three, [toy_row(0, {"temperature": 2.0}, m_gap=0.5)], "numbers", scenario=THREE)
    write_study(three, [toy_row(0, {"temperature": "hot"}, m_gap=50.0)], "words", scenario=THREE)
    said = forgetune("best", "--top", "1", flag, "--results", three)
    if flag == "--toml":
        found = tomllib.loads(said.out)["space"]
    else:
        found = json.loads(said.out)[0]["hyperparameters"]
    assert found == {"learning_rate": 1e-4, "samples_per_class": 500, "temperature": 2.0}


@pytest.mark.parametrize("content", [None, b"{", b"{}"])
def test_best_as_toml_without_the_study_s_description_is_refused(
    forgetune: Command, three: Path, content: bytes | None
) -> None:
    path = three / "study=toy" / "study.json"
    path.unlink() if content is None else path.write_bytes(content)
    said = forgetune("best", "--toml", "--results", three)
    assert said.refusal() == "study.json of toy is missing or not readable"
    assert numbers(forgetune("best", "--json", "--results", three)) == [0, 1, 2]


def test_best_names_a_damaged_file_and_answers_from_the_others(
    forgetune: Command, three: Path
) -> None:
    path = three / "study=toy" / "trials" / results.part_name(toy_row(0))
    path.write_bytes(b"PAR1")
    said = forgetune("best", "--json", "--results", three)
    assert [row["number"] for row in json.loads(said.out)] == [1, 2]
    assert only_line(said.err).startswith(f"forgetune: left out {path}: ")


def test_the_status_names_files_whatever_they_are_called(forgetune: Command, three: Path) -> None:
    moved = three.rename(three.with_name("a[bold]b"))
    path = moved / "study=toy" / "trials" / results.part_name(toy_row(0))
    path.write_bytes(b"PAR1")
    assert f"damaged: {path}: " in forgetune("status", "--results", moved).out


@pytest.mark.parametrize("command", ["best", "status"])
def test_where_there_are_no_studies_that_is_said(
    forgetune: Command, tmp_path: Path, command: str
) -> None:
    for root in (tmp_path, tmp_path / "none"):
        expected = f"there are no studies in {root}; `forgetune run` makes one"
        assert forgetune(command, "--results", root).refusal() == expected
        assert forgetune(command, "toy", "--results", root).refusal() == expected


@pytest.mark.parametrize("command", ["best", "status"])
def test_an_unknown_study_is_refused_with_the_nearest_one(
    forgetune: Command, three: Path, command: str
) -> None:
    message = forgetune(command, "tyo", "--results", three).refusal()
    assert message.startswith(f"unknown study in {three} 'tyo'; did you mean 'toy'?")


@pytest.mark.parametrize("form", [[], ["--json"], ["--toml"]])
def test_a_limit_that_no_trial_meets_is_refused_with_the_lowest_there_is(
    forgetune: Command, three: Path, form: list[str]
) -> None:
    said = forgetune("best", "--forget-at-most", "-0.5", *form, "--results", three)
    assert said.refusal() == (
        "none of 3 trials forgets to -0.5 %; the lowest forget accuracy is 0.0 %"
    )


@pytest.mark.parametrize("flags", [[], ["--pareto"], ["--forget-at-most", "5"]])
def test_where_all_trials_failed_the_states_and_a_reason_are_said(
    forgetune: Command, tmp_path: Path, flags: list[str]
) -> None:
    states = ["crashed", "oom", "crashed"]
    write_study(tmp_path, [toy_row(n, state=state) for n, state in enumerate(states)])
    message = forgetune("best", *flags, "--results", tmp_path).refusal()
    assert message == (
        "no trial completed (2 crashed, 1 oom); the first said: made to end as crashed"
    )


def test_a_study_without_settled_trials_has_no_best(forgetune: Command, tmp_path: Path) -> None:
    write_study(tmp_path, [])
    for name, said in (("toy", "toy"), (None, "any study")):
        arguments = ["best", *([name] if name else []), "--results", tmp_path]
        assert forgetune(*arguments).refusal() == (
            f"no trial of {said} in {tmp_path} has settled yet"
        )


@pytest.mark.parametrize(
    "flags",
    [["--json", "--toml"], ["--pareto", "--forget-at-most", "5"]],
)
def test_flags_that_exclude_each_other_are_refused(
    forgetune: Command, three: Path, flags: list[str]
) -> None:
    message = forgetune("best", *flags, "--results", three).refusal()
    assert "not both" in message
    assert all(flag in message for flag in flags if flag.startswith("--"))


# status


def test_status_shows_each_study_its_failures_and_what_is_damaged(
    forgetune: Command, three: Path
) -> None:
    folder = write_study(three, [toy_row(0), toy_row(1)], name="other", trials=2)
    path = folder / "trials" / results.part_name(toy_row(1))
    path.write_bytes(b"PAR1")
    said = forgetune("status", "--results", three)
    assert (said.code, said.err) == (0, "")
    toy = next(line for line in said.out.splitlines() if "5/9" in line)
    assert [cell.strip() for cell in toy.strip("│").split("│")] == [
        *("toy", "5/9", "2", "0", "1.0 (trial 0)", "-", "nobody"),
    ]
    other = next(line for line in said.out.splitlines() if "1/2" in line)
    assert "other" in other
    assert "toy: 1 crashed" in said.out.splitlines()
    assert "toy: 1 oom" in said.out.splitlines()
    assert "complete" not in said.out
    assert any(line.startswith(f"damaged: {path}: ") for line in said.out.splitlines())


def test_status_of_one_study_leaves_out_the_others(forgetune: Command, three: Path) -> None:
    write_study(three, [toy_row(0)], name="other")
    said = forgetune("status", "other", "--results", three)
    assert "other" in said.out
    assert "toy" not in said.out


# methods, spaces, datasets


def test_methods_lists_needs_and_defaults(forgetune: Command) -> None:
    said = forgetune("methods")
    assert (said.code, said.err) == (0, "")
    text = " ".join(said.out.split())
    for shown in ("original", "retrain", "finetune", "mugan", "per-class GANs", "retain data"):
        assert shown in text
    assert "samples_per_class=2500" in text
    assert "direction=reference" in text
    original = next(line for line in said.out.splitlines() if line.startswith("│ original"))
    assert [cell.strip() for cell in original.split("│")][2:4] == ["nothing", "none"]
    marked = [line for line in said.out.splitlines() if "(a control)" in line]
    assert [line.split("│")[1].strip() for line in marked] == ["mask"]


def table_of(text: str) -> dict[str, str]:
    """Second cell -> third cell of each line of a printed table."""
    rows = [line.strip("│").split("│") for line in text.splitlines() if line.startswith("│")]
    return {row[1].strip(): row[2].strip() for row in rows}


def test_spaces_of_a_method_lists_what_varies_and_how(forgetune: Command) -> None:
    said = forgetune("spaces", "mugan")
    assert (said.code, said.err) == (0, "")
    assert table_of(said.out) == {
        "learning_rate": "1e-06..0.1 (log)",
        "samples_per_class": "100..10000 (log, whole)",
        "temperature": "one of 1.0, 2.0, 4.0, 8.0",
        "forget_batch_size": "one of 16, 32, 64",
        "retain_batch_size": "one of 32, 64, 128",
        "batch_norm": "one of train, frozen",
    }


def test_spaces_shows_what_settings_make_of_a_space(forgetune: Command) -> None:
    settings = ["learning_rate=1e-5..1e-3", "temperature=3", "direction=model,reference"]
    flags = [part for setting in settings for part in ("--set", setting)]
    found = table_of(forgetune("spaces", "mugan", *flags).out)
    assert found["learning_rate"] == "1e-05..0.001 (log)"
    assert found["temperature"] == "3"
    assert found["direction"] == "one of model, reference"


def test_spaces_without_a_method_lists_all(forgetune: Command) -> None:
    said = forgetune("spaces")
    assert said.code == 0
    for name in ("original", "retrain", "finetune", "mugan"):
        assert f"│ {name}" in said.out
    assert "nothing: it has no hyperparameters to search" in said.out


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["mugn"], "unknown method 'mugn'; did you mean 'mugan'?"),
        (["nosuch"], "unknown method 'nosuch'"),
        (["mugan", "--set", "lerning_rate=1"], "did you mean 'learning_rate'?"),
        (["mugan", "--set", "learning_rate"], "NAME=VALUE, NAME=A,B,C and NAME=LOW..HIGH"),
        (["mugan", "--set", "learning_rate=0.1..0.01"], "did you mean 0.01..0.1?"),
        (["mugan", "--set", "direction=sideways"], "possible: reference, model"),
    ],
)
def test_spaces_refuses_what_is_no_space(
    forgetune: Command, arguments: list[str], wrong: str
) -> None:
    assert wrong in forgetune("spaces", *arguments).refusal()


def test_datasets_lists_what_is_known_and_how_to_give_one_s_own(forgetune: Command) -> None:
    said = forgetune("datasets")
    assert (said.code, said.err) == (0, "")
    for name in ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "svhn"):
        assert f"│ {name} " in said.out
    digits = next(line for line in said.out.splitlines() if line.startswith("│ digits "))
    assert [cell.strip() for cell in digits.strip("│").split("│")][2:] == [
        *("20% of training", "0.25", "700"),
    ]
    assert "FILE.npz" in said.out
    assert "train/CLASS/*.png" in said.out


# run, refused before Ray starts


def spec_file(folder: Path, content: bytes) -> Path:
    path = folder / "study.toml"
    path.write_bytes(content)
    return path


ALL_CLASSES = [part for label in range(10) for part in ("--forget", str(label))]


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["--dataset", "digit"], "unknown dataset 'digit'; did you mean 'digits'?"),
        (["--dataset", "none.npz", "--forget", "1"], "none.npz: no such file"),
        (["--model", "alcnn"], "unknown model 'alcnn'; did you mean 'allcnn'?"),
        (["--method", "mugn"], "unknown method 'mugn'; did you mean 'mugan'?"),
        (["--sampler", "tpa"], "unknown sampler 'tpa'; did you mean 'tpe'?"),
        (["--objective", "both"], "objective is 'both'"),
        (["--forget", "ten"], "unknown class of digits 'ten'"),
        (["--forget", "10"], "class 10 is out of range"),
        (ALL_CLASSES, "all 10 classes of digits"),
        (["--trials", "0"], "trials is 0"),
        (["--trials", "-5"], "trials is -5"),
        (["--width", "-1"], "scenario.width is -1"),
        (["--seed", "-1"], "seed is -1"),
        (["--name", "../up"], "study name '../up' cannot be used"),
        (["--name", "a" * 200], "study name 'aaa"),
        (["--set", "learning_rate=0.1..0.01"], "did you mean 0.01..0.1?"),
        (["--set", "learning_rate=-1"], "learning_rate is -1"),
        (["--set", "direction=sideways"], "possible: reference, model"),
        (["--set", "nonsense"], "NAME=VALUE"),
        (["--cpus-per-trial", "0"], "resources.cpus_per_trial is 0"),
        (["none.toml"], "none.toml: no such file"),
    ],
)
def test_an_impossible_run_is_refused_before_anything_starts(
    forgetune: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    wrong: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert wrong in forgetune("run", *arguments).refusal()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"trails = 3", "unknown key 'trails'; did you mean 'trials'?"),
        (b"[scenario]\nbatchsize = 3", "unknown key of scenario 'batchsize'"),
        (b"trials = 'many'", "trials is 'many'"),
        (b"trials =", "not valid TOML"),
        (b"name = '\xff'", "cannot be read"),
        (b"space.learning_rate = '0.1..0.01'", "did you mean 0.01..0.1?"),
    ],
)
def test_a_wrong_file_is_refused_before_anything_starts(
    forgetune: Command, tmp_path: Path, content: bytes, wrong: str
) -> None:
    path = spec_file(tmp_path, content)
    message = forgetune("run", path, "--results", tmp_path / "results").refusal()
    assert wrong in message
    assert not (tmp_path / "results").exists()


@pytest.mark.usefixtures("no_ray")
def test_flags_go_before_the_file(forgetune: Command, tmp_path: Path) -> None:
    path = spec_file(tmp_path, b"trials = 3\nscenario.dataset = 'digit'")
    assert "trials is 0" in forgetune("run", path, "--trials", "0").refusal()
    assert "unknown dataset 'digit'" in forgetune("run", path, "--trials", "5").refusal()


@pytest.mark.usefixtures("no_ray")
def test_results_that_are_a_file_are_refused(forgetune: Command, tmp_path: Path) -> None:
    path = tmp_path / "results"
    path.write_text("a file")
    said = forgetune("run", "--results", path)
    assert (said.code, said.out) == (2, "")
    last = said.err.splitlines()[-1]
    assert last.startswith("forgetune: the results folder ")
    assert "cannot be written" in last
    assert "Traceback" not in said.err


def digits_fingerprint() -> str:
    """What a run on the real digits finds."""
    return read("digits", Places().data).fingerprint


def finished_study(root: Path, **values: Any) -> list[str]:
    """A finished study of three trials as `run` would leave it; the command that continues it."""
    spec = toy_spec(trials=3, **values)
    with Ledger(spec, root, digits_fingerprint()) as ledger:
        settle(ledger)
    return finished_study_command(root)


def finished_study_command(root: Path) -> list[str]:
    flags = ["--name", "toy", "--method", "finetune", "--sampler", "random", "--trials", "3"]
    return ["run", *flags, "--results", str(root)]


@pytest.mark.usefixtures("no_ray")
def test_a_finished_study_is_shown_and_not_run_again(forgetune: Command, tmp_path: Path) -> None:
    command = finished_study(tmp_path)
    rows = stored(tmp_path)
    said = forgetune(*command)
    assert said.code == 0
    assert "Pareto front" in said.out
    assert "Best configuration " in said.out
    assert said.out.splitlines()[-1] == f"more: forgetune best toy --results {tmp_path}"
    assert said.err.splitlines() == [f"study toy in {tmp_path / 'study=toy'}", "forgetting class 3"]
    assert stored(tmp_path) == rows


@pytest.mark.usefixtures("no_ray")
def test_another_study_of_the_same_name_is_refused_with_the_differences(
    forgetune: Command, tmp_path: Path
) -> None:
    said = forgetune(*finished_study(tmp_path), "--seed", "4", "--set", "epochs=2")
    assert (said.code, said.out) == (2, "")
    last = said.err.splitlines()[-1]
    assert last.startswith("forgetune: study toy exists and is another one (")
    assert "seed: 0 -> 4" in last
    assert "space.epochs: None -> 2" in last
    assert "Traceback" not in said.err


@pytest.mark.usefixtures("no_ray")
def test_a_study_that_is_being_run_is_refused(forgetune: Command, tmp_path: Path) -> None:
    command = finished_study(tmp_path)
    with Ledger(toy_spec(trials=3), tmp_path, digits_fingerprint()):
        said = forgetune(*command)
    assert (said.code, said.out) == (2, "")
    last = said.err.splitlines()[-1]
    assert last.startswith(f"forgetune: study toy is being run by process {os.getpid()} on ")
    assert "Traceback" not in said.err


@pytest.mark.usefixtures("no_ray")
def test_a_study_all_of_whose_trials_failed_says_why(forgetune: Command, tmp_path: Path) -> None:
    command = finished_study(tmp_path)
    for path in (tmp_path / "study=toy" / "trials").iterdir():
        path.unlink()
    (tmp_path / "study=toy" / "journal.log").unlink()
    for number in range(3):
        values = {"learning_rate": 1e-4, "epochs": 1, "batch_size": 64, "batch_norm": "train"}
        row = toy_row(number, state="crashed", method="finetune", params_json=json.dumps(values))
        results.write_row(tmp_path / "study=toy", row)
    said = forgetune(*command)
    assert said.code == 1
    assert only_line(said.out) == (
        "no trial completed (3 crashed); the first said: made to end as crashed"
    )
    assert said.err.splitlines()[-1].endswith(
        "the same command runs them again with --retry crashed"
    )


@pytest.mark.usefixtures("no_ray")
def test_a_study_that_ran_out_of_time_before_its_first_trial_exits_with_1(
    forgetune: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Study, "run", lambda *_, **__: False)
    write_study(tmp_path, [])
    said = forgetune(*finished_study_command(tmp_path))
    assert (said.code, said.out) == (1, "no trial has settled yet\n")
    assert "the time budget is over" in said.err.splitlines()[-1]


@pytest.mark.usefixtures("no_ray")
def test_a_state_that_cannot_be_run_again_is_refused(forgetune: Command, tmp_path: Path) -> None:
    command = finished_study(tmp_path)
    for state in ("complete", "crashd"):
        said = forgetune(*command, "--retry", "oom", "--retry", state).refusal()
        assert said.startswith(f"unknown state to retry {state!r}")
        assert "pruned, diverged, oom, crashed, timeout, starved" in said


@pytest.mark.usefixtures("no_ray")
def test_where_no_trial_has_ended_so_that_is_said(forgetune: Command, tmp_path: Path) -> None:
    said = forgetune(*finished_study(tmp_path), "--retry", "crashed", "--retry", "oom")
    assert said.code == 0
    assert said.err.splitlines()[-1] == "no trial is crashed or oom: none is run again"


@pytest.mark.parametrize("state", ["timeout", "oom", "crashed"])
def test_where_nothing_completed_every_question_ends_in_one_line(
    forgetune: Command, tmp_path: Path, state: str
) -> None:
    write_study(tmp_path, [toy_row(n, state=state) for n in range(3)])
    expected = f"no trial completed (3 {state}); the first said: made to end as {state}"
    assert forgetune("best", "toy", "--results", tmp_path).refusal() == expected
    assert forgetune("importance", "toy", "--results", tmp_path).refusal()
    page = tmp_path / "page.html"
    said = forgetune("report", "toy", "--results", tmp_path, "--output", page)
    assert (said.code, said.out) == (0, f"{page}\n")
    assert f"made to end as {state}" in page.read_text()


ROWS = [{"state": "crashed", "reason": "KeyError: 'x'"}, {"state": "oom", "reason": "too large"}]


@pytest.mark.parametrize(("last", "code"), [([], 1), ([{"state": "complete"}], 0)])
@pytest.mark.usefixtures("no_ray")
def test_what_repeats_configurations_exits_with_1_where_no_run_completed(
    forgetune: Command, monkeypatch: pytest.MonkeyPatch, last: list[Any], code: int
) -> None:
    def shown(*_: Any) -> None: ...

    entries = [
        Entry("original", [{"state": "complete"}], reference=True),
        Entry("scrub", ROWS),
        Entry("unsir", last),
    ]
    monkeypatch.setattr("search.designs.comparison.compare", lambda *_, **__: entries)
    monkeypatch.setattr("search.show.tables.comparison", shown)
    monkeypatch.setattr("search.analysis.compare.sheet", shown)
    monkeypatch.setattr("search.cli.comparing.present", shown)
    said = forgetune("compare", "scrub", "unsir")
    assert said.code == code
    if code:
        assert only_line(said.err) == "no run completed; the first is crashed: KeyError: 'x'"


# The entry point


def test_an_interruption_ends_in_one_line(
    forgetune: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(results, "study_names", interrupted)
    said = forgetune("best")
    assert (said.code, said.out) == (130, "")
    assert only_line(said.err).startswith("forgetune: interrupted")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nosuch"], "No such command 'nosuch'; see `forgetune --help`"),
        (["run", "--nosuch"], "No such option: --nosuch; see `forgetune run --help`"),
        (["compare"], "Missing argument 'methods'; see `forgetune compare --help`"),
        (["best", "--top", "0"], "Invalid value for '--top'"),
        (["trial", "--seed", "x"], "Invalid value for '--seed'"),
    ],
)
def test_a_misspelt_command_line_ends_in_one_line(
    forgetune: Command, arguments: list[str], said: str
) -> None:
    refused = forgetune(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert only_line(refused.err).startswith(f"forgetune: {said}")


def test_a_reader_that_goes_away_ends_in_silence(
    forgetune: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody_reads(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(cli, "app", nobody_reads)
    assert forgetune("best") == Said(1, "", "")


@pytest.mark.parametrize("package", ["trainables", "spaces"])
def test_a_foreign_package_in_place_of_ours_is_named(tmp_path: Path, package: str) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    done = fresh("from search.cli import main; main()", "methods", cwd=tmp_path)
    message = Said(done.returncode, done.stdout, done.stderr).refusal()
    where = tmp_path / package / "__init__.py"
    assert message.startswith(f"the package {package!r} found at {where} is not forgetune's")


# trial


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["--set", "learning_rate=1e-5..1e-3"], "learning_rate = '1e-5..1e-3': a trial has one"),
        (["--set", "temperature=1.0,2.0"], "temperature = [1.0, 2.0]: a trial has one value"),
        (["--set", "temperature=0"], "temperature is 0"),
        (["--method", "mugn"], "did you mean 'mugan'?"),
        (["--forget", "10"], "class 10 is out of range"),
        (["none.toml"], "none.toml: no such file"),
        (
            ["--save", "none/w.safetensors"],
            "--save none/w.safetensors: give a file in a folder that is there",
        ),
        (["--trial-timeout", "0"], "trial_timeout is 0"),
        (["--save", "w.pt"], "--save w.pt: weights are written as safetensors; give a name that"),
        (["--save", "w.safetensors.pth"], "give a name that ends in .safetensors"),
        (["--save", "."], "--save .: give a file in a folder that is there"),
        (["--save", "x" * 300 + ".safetensors"], "cannot be written (File name too long)"),
        (["--save", "\0.safetensors"], "embedded null byte"),
        (["--seed", str(2**64)], f"--seed is {2**64}: possible: 0 to 4294967295"),
        (["--image-size", "9" * 5000], "give pixels, as 32 or as 28x32"),
        (["x" * 300], "File name too long"),
        (["a\nb.toml"], "a\\nb.toml: no such file"),
    ],
)
def test_an_impossible_trial_is_refused_before_anything_is_trained(
    forgetune: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    wrong: str,
) -> None:
    def build(*_: object) -> None:
        raise AssertionError("a model would be trained")

    monkeypatch.setattr(Workbench, "prepare", build)
    monkeypatch.chdir(tmp_path)
    said = forgetune("trial", *arguments, "--artifacts", tmp_path / "artifacts")
    assert wrong in said.refusal()
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.parametrize("name", ["w.pt", "w"])
def test_a_run_does_not_begin_whose_weights_would_be_misnamed(
    forgetune: Command, tmp_path: Path, no_ray: None, name: str
) -> None:
    said = forgetune("run", "--save", tmp_path / name, "--results", tmp_path / "results")
    assert "weights are written as safetensors" in said.refusal()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InvalidRequest, match="safetensors"):
        Study(root=tmp_path / "results").save_best(tmp_path / name)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["compare", "finetune", "--output"], "give a file in a folder"),
        (["sensitivity", "learning_rate", "--plot"], "give a file in a folder"),
        (["classes", "--output"], "give a file in a folder"),
        (["query", "SELECT 1", "--output"], "give a file in a folder"),
        (["report", "toy", "--output"], "give a file in a folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_first(
    forgetune: Command, three: Path, no_ray: None, flags: list[str], said: str
) -> None:
    where = ["--results", three]
    assert said in forgetune(*flags, three, *where).refusal()
    assert said in forgetune(*flags, three / "none" / "x", *where).refusal()
    assert "File name too long" in forgetune(*flags, three / ("x" * 300), *where).refusal()


def test_previews_do_not_go_where_a_file_is(
    forgetune: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "deeper"):
        assert "--preview" in forgetune("prepare", "--preview", path).refusal()


@pytest.fixture
def three_digits_trial(three_digits: Path, places: Places, tmp_path: Path) -> list[str]:
    """The command that runs a trial in the scenario of the session's workbench."""
    path = spec_file(
        tmp_path,
        f"""
        method = "original"
        [scenario]
        dataset = "{three_digits}"
        forget = [1]
        width = 0.1
        validation_fraction = 0.2
        epochs = 6
        batch_size = 32
        gan_steps = 400
        """.encode(),
    )
    where = ["--data", str(places.data), "--artifacts", str(places.artifacts)]
    return ["trial", str(path), *where]


def test_a_trial_prints_its_outcome_as_json_and_saves_weights_that_load(
    forgetune: Command, three_digits_trial: list[str], tmp_path: Path, bench: Workbench
) -> None:
    save = tmp_path / "weights.safetensors"
    said = forgetune(*three_digits_trial, "--json", "--save", save, "--seed", "5")
    assert said.code == 0
    assert "Traceback" not in said.err
    found = json.loads(said.out)
    assert (found["state"], found["method"], found["seed"]) == ("complete", "original", 5)
    assert (found["hyperparameters"], found["reason"]) == ({}, None)
    assert set(toy_metrics(0)) <= set(found["metrics"]) <= set(METRICS)
    # The original model is the base model, and its gap is the distance to the retrained one.
    base, retrained = found["references"]["base"], found["references"]["retrained"]
    assert base == bench.references["base"]
    names = ("forget_accuracy", "retain_accuracy", "mia")
    assert {name: found["metrics"][name] for name in names} == {n: base[n] for n in names}
    assert found["metrics"]["gap"] == pytest.approx(
        sum(abs(base[name] - retrained[name]) for name in names) / 3
    )
    dataset = bench.dataset
    model = catalogue.build("allcnn", dataset.image_shape, len(dataset.classes), 0.1, seed=1)
    model.load_state_dict(load_file(save))
    for name, tensor in bench.base.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)


def test_a_trial_without_a_model_says_that_none_was_saved(
    forgetune: Command, three_digits_trial: list[str], tmp_path: Path
) -> None:
    save = tmp_path / "weights.safetensors"
    given = ["--method", "finetune", "--set", "learning_rate=1e20", "--save", save]
    said = forgetune(*three_digits_trial, *given)
    assert said.code == 1
    assert said.err.splitlines()[-1] == "there is no model to save"
    assert not save.exists()


def test_a_trial_prints_a_table_beside_the_reference_models(
    forgetune: Command, three_digits_trial: list[str], bench: Workbench
) -> None:
    said = forgetune(*three_digits_trial)
    assert said.code == 0
    assert said.out.startswith("original(), seed 0: complete, forgetting class 1 ")
    line = next(line for line in said.out.splitlines() if line.startswith("│ retain_accuracy"))
    base, retrained, unlearned = [float(cell) for cell in line.split("│")[2:5]]
    for shown, name in ((base, "base"), (unlearned, "base"), (retrained, "retrained")):
        assert shown == pytest.approx(bench.references[name]["retain_accuracy"], abs=0.06)
    assert "unlearned in " in said.out


def test_the_same_trial_twice_gives_the_same_figures(
    forgetune: Command, three_digits_trial: list[str]
) -> None:
    flags = ["--method", "finetune", "--set", "epochs=1", "--json"]
    one, two, other = (
        json.loads(forgetune(*three_digits_trial, *flags, "--seed", seed).out)["metrics"]
        for seed in (3, 3, 4)
    )
    assert one == two
    assert set(other) == set(one)


def test_a_trial_that_does_not_complete_ends_with_code_one_and_saves_nothing(
    forgetune: Command, three_digits_trial: list[str], tmp_path: Path
) -> None:
    save = tmp_path / "weights.safetensors"
    flags = ["--method", "finetune", "--set", "learning_rate=1e30", "--json", "--save", save]
    said = forgetune(*three_digits_trial, *flags)
    assert said.code == 1
    found = json.loads(said.out)
    assert (found["state"], found["metrics"]) == ("diverged", {})
    assert found["reason"]
    assert not save.exists()


def test_weights_of_a_model_that_lost_much_are_saved_with_a_warning(
    forgetune: Command, three_digits_trial: list[str], tmp_path: Path
) -> None:
    save = tmp_path / "weights.safetensors"
    flags = ["--method", "negative_gradient", "--set", "learning_rate=0.1", "--set", "epochs=3"]
    said = forgetune(*three_digits_trial, *flags, "--json", "--save", save)
    metrics = json.loads(said.out)["metrics"]
    base = json.loads(said.out)["references"]["base"]["retain_accuracy"]
    lost = base - metrics["retain_accuracy"]
    assert lost > 20, "the case of this test"
    assert said.code == 0
    assert f"are in {save}: it is right for {metrics['forget_accuracy']:.1f} %" in said.err
    assert f"warning: this model has lost {lost:.1f} points of what it should keep" in said.err


def test_weights_of_the_base_model_come_without_a_warning(
    forgetune: Command, three_digits_trial: list[str], tmp_path: Path
) -> None:
    said = forgetune(*three_digits_trial, "--json", "--save", tmp_path / "base.safetensors")
    assert "base.safetensors: it is right for" in said.err
    assert "warning" not in said.err


def test_weights_are_not_saved_onto_a_folder(
    forgetune: Command, three_digits_trial: list[str], tmp_path: Path
) -> None:
    said = forgetune(*three_digits_trial, "--save", tmp_path)
    assert said.refusal().startswith(f"--save {tmp_path}: ")


def test_the_best_of_a_study_can_be_fed_back_into_a_trial(
    forgetune: Command, three_digits_trial: list[str], tmp_path: Path
) -> None:
    path = Path(three_digits_trial[1])
    scenario = tomllib.loads(path.read_text())["scenario"]
    root = tmp_path / "results"
    (row,) = run_study(root, trials=1, scenario=scenario, space={"epochs": 1})
    path.write_text(forgetune("best", "--toml", "--results", root).out)
    said = forgetune(*three_digits_trial, "--json", "--seed", row["seed"])
    found = json.loads(said.out)
    assert (found["state"], found["method"], found["seed"]) == ("complete", "finetune", row["seed"])
    assert found["hyperparameters"] == {**json.loads(row["params_json"]), "layers": "all"}


def test_a_trial_reads_its_specification_from_standard_input(
    forgetune: Command, three_digits_trial: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = Path(three_digits_trial[1]).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    said = forgetune("trial", "-", *three_digits_trial[2:], "--json")
    assert json.loads(said.out)["method"] == "original"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    refused = forgetune("trial", "-").refusal()
    assert refused == "standard input: is empty; a specification in TOML is expected"


@pytest.fixture
def two_folders(tmp_path: Path) -> Path:
    """A folder of images of two classes, and a file that is none."""
    for part in ("train", "test"):
        for value, name in enumerate(("cat", "dog")):
            folder = tmp_path / "pets" / part / name
            folder.mkdir(parents=True)
            for index in range(4):
                Image.new("L", (8, 8), 100 * value + index).save(folder / f"{index}.png")
    (tmp_path / "pets" / "train" / "cat" / "notes.txt").write_text("a text")
    return tmp_path / "pets"


def test_what_a_dataset_holds_besides_images_is_said_once(
    two_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Study, "_search", lambda *_: None)
    shown = io.StringIO()
    values = {"dataset": str(two_folders), "forget": ["cat"]}
    for method in ("finetune", "retrain"):
        spec = validate({"method": method, "scenario": values})
        Study(spec, root=tmp_path / "results").run(Progress(Console(file=shown, width=200)))
    assert shown.getvalue().splitlines() == [
        "pets/: 1 file left out (1 .txt)",
        "validation has only 1 image of class 0 ('cat'): its forget accuracy goes in steps of 100 "
        "points",
    ]


# Standard output

SHOWN = ["--help", "query 'SELECT * FROM trials' --format csv"]
ENDS = {
    "full": (2, "forgetune: the output cannot be written (No space left on device)\n"),
    "closed": (2, "forgetune: the output cannot be written (standard output is closed)\n"),
    "unread": (1, ""),
    "all full": (2, None),
}


@pytest.mark.parametrize("command", ["status", "best", "query 'SELECT 1'", "report", "run"])
def test_a_place_with_a_name_that_cannot_be_is_told_in_a_line(
    forgetune: Command, no_ray: None, tmp_path: Path, command: str
) -> None:
    place = tmp_path / ("x" * 300)
    said = forgetune(*shlex.split(command), "--results", place).refusal()
    assert said.endswith("cannot be used (File name too long)")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("shown", SHOWN)
def test_what_cannot_be_printed_ends_in_a_line_or_in_silence(
    three: Path, shown: str, end: str
) -> None:
    command = [sys.executable, "-m", "search", *shlex.split(shown)]
    if shown != "--help":
        command += ["--results", str(three)]
    if end == "closed":
        command = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    read_end, write_end = os.pipe()
    os.close(read_end)
    with open("/dev/full", "wb") as full, os.fdopen(write_end, "wb") as unread:
        done = subprocess.run(
            command,
            cwd=three,
            stdin=subprocess.DEVNULL,
            stdout=unread if end == "unread" else full,
            stderr=full if end == "all full" else subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    assert (done.returncode, done.stderr) == ENDS[end]


def test_what_is_printed_in_an_encoding_without_it_is_escaped(three: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "search", "best", "--results", three],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_clusters_file_is_checked_offline(
    forgetune: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    found = forgetune("cluster", "check", "--results", "s3://bucket/results")
    assert (found.code, found.err) == (0, "")
    assert "token authentication on all nodes" in found.out
    (tmp_path / "open.yaml").write_text(
        Path("cluster.yaml").read_text().replace("RAY_AUTH_MODE=token", "COLOUR=red")
    )
    refused = forgetune("cluster", "check", tmp_path / "open.yaml")
    assert refused.code == 2
    assert "error:" in refused.out
    missing = forgetune("cluster", "check", tmp_path / "nope.yaml")
    assert missing.code == 2
    assert only_line(missing.err).endswith("no such file")


def test_a_query_s_words_are_shown_as_they_are(forgetune: Command, three: Path) -> None:
    said = forgetune("query", "SELECT '[red]' AS \"[b]\", ['[/]'] AS a", "--results", three)
    assert (said.code, said.err) == (0, "")
    assert [text in said.out for text in ("[red]", "[b]", '["[/]"]')] == [True] * 3
