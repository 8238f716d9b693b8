"""Flags that follow from the specification: every key has one, wherever it makes sense."""

from __future__ import annotations

import functools
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel

from search import cli
from search.cli import comparing, completing, flags, options, running, single, studying
from search.cli.commands import with_flags
from search.definition.kinds import AUTO
from search.definition.reading import load_spec, validate
from search.definition.spec import StudySpec
from search.engine import jobs
from tests.search.toys import only_line, write_study
from trainables.errors import InvalidRequest
from trainables.models import catalogue, names
from trainables.scenario import Places

FUNCTIONS: dict[str, Callable[..., None]] = {
    "run": running.run,
    "prepare": running.prepare,
    "trial": single.trial,
    "compare": comparing.compare,
    "sensitivity": studying.sensitivity,
    "classes": studying.classes,
}

OWN = {"compare": "finetune"}
"""What a command cannot do without."""

WORDS: dict[str, tuple[str, Any]] = {
    "name": ("--name mine", "mine"),
    "method": ("--method scrub", "scrub"),
    "trials": ("--trials 7", 7),
    "sampler": ("--sampler gp", "gp"),
    "objective": ("--objective gap", "gap"),
    "gap_terms": ("--gap-terms 'mia, probe'", ["mia", "probe"]),
    "mia_tolerance": ("--mia-tolerance 0", 0.0),
    "seed": ("--seed 0", 0),
    "pruner": ("--pruner asha", "asha"),
    "metrics": ("--metrics anamnesis --metrics synthetic", ["anamnesis", "synthetic"]),
    "curves": ("--curves", True),
    "retries": ("--retries 0", 0),
    "give_up_after": ("--give-up-after 0", 0),
    "trial_timeout": ("--trial-timeout 2.5", 2.5),
    "time_budget": ("--time-budget 60", 60.0),
    "concurrency": ("--concurrency 2", 2),
    "pool_samples": ("--no-pool-samples", False),
    "space": (
        "--set epochs=1 --set learning_rate=1e-5..0.1 --set batch_size=32,64",
        {"epochs": 1, "learning_rate": "1e-5..0.1", "batch_size": [32, 64]},
    ),
    "scenario.dataset": ("--dataset own.npz", "own.npz"),
    "scenario.forget": ("--forget cat --forget 3", ["cat", "3"]),
    "scenario.model": ("--model vgg16", "vgg16"),
    "scenario.width": ("--width 0.5", 0.5),
    "scenario.validation_fraction": ("--validation-fraction 0.3", 0.3),
    "scenario.seed": ("--base-seed 5", 5),
    "scenario.evaluation_seed": ("--evaluation-seed 6", 6),
    "scenario.epochs": ("--epochs 2", 2),
    "scenario.learning_rate": ("--learning-rate 1e-4", 1e-4),
    "scenario.batch_size": ("--batch-size 16", 16),
    "scenario.gan": ("--gan cgan", "cgan"),
    "scenario.gan_steps": ("--gan-steps 11", 11),
    "scenario.gan_width": ("--gan-width 0.7", 0.7),
    "scenario.anamnesis_alpha": ("--anamnesis-alpha 0", 0.0),
    "scenario.anamnesis_batch_size": ("--anamnesis-batch-size 32", 32),
    "scenario.anamnesis_epochs": ("--anamnesis-epochs 3", 3),
    "scenario.precision": ("--precision bfloat16", "bfloat16"),
    "scenario.weights": ("--weights base.safetensors", "base.safetensors"),
    "scenario.image_size": ("--image-size 28x32", [28, 32]),
    "scenario.validation_from": ("--validation-from test", "test"),
    "scenario.held_out": ("--held-out some.txt", "some.txt"),
    "inversion.steps": ("--inversion-steps 9", 9),
    "inversion.batch_size": ("--inversion-batch-size 8", 8),
    "inversion.learning_rate": ("--inversion-learning-rate 0.5", 0.5),
    "inversion.reconstruction_weight": ("--inversion-reconstruction-weight 0.1", 0.1),
    "inversion.diversity_weight": ("--inversion-diversity-weight 0", 0.0),
    "inversion.decoder_layers": ("--inversion-decoder-layers 0", 0),
    "inversion.output": ("--inversion-output normalised", "normalised"),
    "inversion.bn_weight": ("--inversion-bn-weight 0.3", 0.3),
    "inversion.few_shot": ("--inversion-few-shot 2", 2),
    "inversion.few_shot_weight": ("--inversion-few-shot-weight 0.4", 0.4),
    "resources.cpus_per_trial": ("--cpus-per-trial 2", 2),
    "resources.gpus_per_trial": ("--gpus-per-trial 0.25", 0.25),
    "resources.fuse": ("--fuse 8", 8),
}
"""Of each key, words of a command line and the value that they give it."""


def fields(kind: type[BaseModel] = StudySpec, prefix: str = "") -> dict[str, str]:
    """Each key of a specification, and the text under its field."""
    found: dict[str, str] = {}
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= fields(inner, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = field.description or ""
    return found


@pytest.fixture
def forgetune(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The command, run in this process by its entry point: exit code and both outputs."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "1000")

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["forgetune", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out, said.err

    return call


def given(command: str, line: str) -> dict[str, Any]:
    """What a command is told by a line of flags, in the shape of a TOML file."""
    told: list[dict[str, Any]] = []

    @functools.wraps(FUNCTIONS[command])
    def record(given: dict[str, Any], **_: Any) -> None:
        told.append(given)

    app = typer.Typer()
    app.command()(with_flags(record))
    app(shlex.split(f"{OWN.get(command, '')} {line}"), standalone_mode=False)
    return told[0]


def nested(key: str, value: Any) -> dict[str, Any]:
    section, _, name = key.rpartition(".")
    return {section: {name: value}} if section else {name: value}


def test_every_field_has_words_here_and_a_text_of_its_own() -> None:
    assert set(WORDS) == set(fields()), "a new field needs a line in WORDS"
    assert [key for key, text in fields().items() if not text] == []


@pytest.mark.parametrize("command", FUNCTIONS)
def test_every_key_has_a_flag_that_says_it_or_a_reason_why_not(command: str) -> None:
    lacking = flags.WITHOUT.get(command, {})
    assert set(lacking) <= set(WORDS)
    assert all(lacking.values())
    for key, (line, value) in WORDS.items():
        if key in lacking:
            continue
        if (command, key) == ("trial", "seed"):  # its own --seed is the unlearning's
            line = "--study-seed 0"
        assert given(command, line) == nested(key, value), key


@pytest.mark.parametrize("command", ["run", "prepare"])
def test_a_whole_study_can_be_said_in_flags(command: str) -> None:
    merged: dict[str, Any] = {}
    for key, (_, value) in WORDS.items():
        section, _, name = key.rpartition(".")
        (merged.setdefault(section, {}) if section else merged)[name] = value
    assert command not in flags.WITHOUT
    assert given(command, " ".join(line for line, _ in WORDS.values())) == merged
    assert given(command, "") == {}


@pytest.mark.parametrize("command", FUNCTIONS)
def test_help_names_every_flag_with_the_text_under_its_field_by_section(
    forgetune: Callable[..., tuple[int, str, str]], command: str
) -> None:
    code, out, _ = forgetune(command, "--help")
    assert code == 0
    shown: dict[str, tuple[str, str]] = {}
    heading = ""
    for line in out.splitlines():
        if line.startswith("╭─ "):
            heading = line.split()[1]
        elif line.startswith("│ --"):
            shown[line.split()[1]] = heading, " ".join(line.replace("│", " ").split())
    for key, text in fields().items():
        if key in flags.WITHOUT.get(command, {}):
            continue
        name = WORDS[key][0].split()[0].replace("--no-", "--")
        if (command, key) == ("trial", "seed"):
            name = "--study-seed"
        section = "Space" if key == "space" else key.rpartition(".")[0].capitalize() or "Study"
        assert shown[name][0] == section
        assert " ".join(text.replace("`", "").split()) in shown[name][1]
    assert shown["--data"][0] == "Places"


@pytest.mark.parametrize(
    ("flag", "default"),
    [
        ("--epochs", "[default: 30]"),
        ("--sampler", "[default: tpe]"),
        ("--gan-width", "[default: 1.0]"),
        ("--pool-samples", "[default: yes]"),
        ("--gan-steps", "[default: suits the dataset]"),
        ("--retries", "[default: 3]"),
    ],
)
def test_help_says_what_is_so_where_nothing_is_given(
    forgetune: Callable[..., tuple[int, str, str]], flag: str, default: str
) -> None:
    _, out, _ = forgetune("run", "--help")
    (line,) = (line for line in out.splitlines() if line.startswith(f"│ {flag} "))
    assert line.rstrip("│ ").endswith(default)


def test_a_flag_given_again_goes_before_itself_and_before_the_file(tmp_path: Path) -> None:
    assert given("run", "--epochs 2 --epochs 3") == {"scenario": {"epochs": 3}}
    assert given("run", "--curves --no-curves") == {"curves": False}
    path = tmp_path / "study.toml"
    path.write_text("curves = true\n[inversion]\nsteps = 5\nbn_weight = 0.5")
    spec = load_spec(path, given("run", "--no-curves --inversion-steps 6"))
    assert (spec.curves, spec.inversion.steps, spec.inversion.bn_weight) == (False, 6, 0.5)


def test_zero_shot_is_without_the_files_dataset_and_with_its_method(tmp_path: Path) -> None:
    path, nowhere = tmp_path / "study.toml", Places(data=tmp_path, artifacts=tmp_path)
    path.write_text('objective = "gap"\n[scenario]\ndataset = "digits"\nmodel = "vgg16"')
    found = options.load(path, given("run", "--trials 2"), nowhere, without_data=True)
    assert (found.method, found.objective, found.trials) == ("zdelete", "synthetic", 2)
    assert (found.scenario.dataset, found.scenario.model) == ("none", "vgg16")
    path.write_text('method = "emmn"')
    for line, method in (("", "emmn"), ("--method gkt", "gkt")):
        assert options.load(path, given("run", line), nowhere, without_data=True).method == method


@pytest.mark.parametrize("word", ["8", AUTO])
def test_a_number_or_a_word_is_what_it_looks_like(word: str) -> None:
    spec = validate(given("run", f"--fuse {word}"))
    assert spec.resources.fuse == (8 if word == "8" else "auto")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("run --epochs 0", "scenario.epochs is 0: possible: 1 to 1000000000"),
        ("run --epochs many", "Invalid value for '--epochs'"),
        ("run --epochs", "Option '--epochs' requires an argument; see `forgetune run --help`"),
        ("run --zero-shot --dataset digits", "--zero-shot is without any dataset"),
        ("run --epoch 3", "No such option: --epoch (Possible options: --epochs)"),
        ("prepare --inversion-steps -1", "inversion.steps is -1: possible: 1 to"),
        ("trial --inversion-output x", "inversion.output is 'x': input should be 'tanh' or"),
        ("trial --base-seed -1", "scenario.seed is -1: possible: 0 to"),
        ("trial --study-seed -1", "seed is -1: possible: 0 to"),
        ("trial --sampler gp", "trial takes no --sampler: a trial is alone"),
        ("compare mugan --method scrub", "compare takes no --method: the methods are its"),
        ("compare mugan --anamnesis-alpha 1", "scenario.anamnesis_alpha is 1.0"),
        ("sensitivity x --trials=5", "sensitivity takes no --trials: its design says"),
        ("sensitivity x --validation-fraction nan", "scenario.validation_fraction is nan"),
        ("classes --fuse some", "resources.fuse is 'some': it should be a whole number"),
        ("classes --image-size big", "--image-size 'big': give pixels"),
        ("run --pool-samples=no", "Option '--pool-samples' does not take a value"),
        ("run --metrics zrf", "metrics.0 is 'zrf': input should be 'anamnesis' or 'synthetic'"),
    ],
)
def test_what_a_flag_cannot_say_is_refused_in_a_line(
    forgetune: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    line: str,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = forgetune(*shlex.split(line))
    assert (code, out) == (2, "")
    assert only_line(err).startswith(f"forgetune: {said}")
    assert list(tmp_path.iterdir()) == []


def test_a_job_is_packed_by_the_options_that_there_are() -> None:
    alone = {"--help", "-h"}
    for command in jobs.SENT:
        made = typer.Typer(add_completion=False)
        made.command()(with_flags(FUNCTIONS[command]))
        for each in typer.main.get_command(made).params:
            if getattr(each, "is_flag", False):
                alone |= {*each.opts, *each.secondary_opts}
    assert alone == {*jobs.ALONE}


def test_flags_beside_a_study_change_how_it_is_run_and_not_what_it_is(tmp_path: Path) -> None:
    places = Places(data=tmp_path / "data", artifacts=tmp_path / "artifacts")
    write_study(tmp_path, [])
    kept = studying._origin("toy", None, {}, tmp_path, places)
    line = "--curves --trial-timeout 5 --cpus-per-trial 2 --metrics synthetic"
    found = studying._origin("toy", None, given("sensitivity", line), tmp_path, places)
    assert (found.curves, found.trial_timeout, found.metrics) == (True, 5.0, ["synthetic"])
    assert found.resources == kept.resources.model_copy(update={"cpus_per_trial": 2})
    assert (found.scenario, found.seed, found.space) == (kept.scenario, kept.seed, kept.space)
    for line in ("--epochs 3", "--seed 4", "--method scrub", "--inversion-steps 5"):
        with pytest.raises(InvalidRequest, match="--study says all of method and scenario"):
            studying._origin("toy", None, given("sensitivity", line), tmp_path, places)


# Completion


def complete(line: str, monkeypatch: pytest.MonkeyPatch, call: Callable[..., Any]) -> list[str]:
    """What bash is told of the last word of a line."""
    monkeypatch.setenv("_FORGETUNE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"forgetune {line}")
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" "))))
    code, out, err = call()
    assert (code, err) == (0, "")
    return out.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("run --method mu", ["mugan"]),
        ("run --dataset mn", ["mnist"]),
        ("trial --model ", [*names.MODELS]),
        ("run --sampler t", ["tpe"]),
        ("classes --pruner ", ["none", "asha", "median"]),
        ("prepare --objective ", ["pareto", "gap", "synthetic"]),
        ("compare finetune scr", ["scrub", "scrub_r"]),
        ("run --metrics a", ["anamnesis"]),
        ("run --inversion-o", ["--inversion-output"]),
        ("sens", ["sensitivity"]),
        ("best --results RESULTS ", ["other", "toy"]),
        ("sensitivity x --results RESULTS --study t", ["toy"]),
        ("report --results RESULTS toy o", ["other"]),
        ("run --name t --results nowhere --name ", []),
        ("best --results s3://bucket/results ", []),
        ("spaces zm", ["zmugan"]),
        ("run --retry o", ["oom"]),
        ("compare finetune --format ", ["text", "markdown", "latex", "csv"]),
        ("sensitivity x --design ", ["grid", "sobol"]),
        ("sensitivity x --on ", ["test", "validation", "synthetic"]),
        ("classes --on ", ["test", "validation"]),
    ],
)
def test_a_shell_is_told_what_can_stand_there(
    forgetune: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    line: str,
    expected: list[str],
) -> None:
    for name in ("toy", "other"):
        write_study(tmp_path, [], name=name)
    line = line.replace("RESULTS", str(tmp_path))
    assert complete(line, monkeypatch, forgetune) == expected


def test_completing_imports_neither_torch_nor_ray(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from search.cli import completing, flags\n"
        "for command in flags.COMMANDS: flags.flags(command)\n"
        "for name in ('methods', 'datasets', 'models', 'samplers', 'pruners', 'states'):\n"
        "    assert getattr(completing, name)(incomplete='')\n"
        "from search.store.results import study_names\n"
        "print([name for name in ('torch', 'ray') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_what_fails_completes_nothing() -> None:
    @completing._quiet
    def broken(incomplete: str) -> list[str]:
        raise OSError("no such place")

    assert broken(incomplete="") == []


def test_the_models_names_are_those_that_can_be_built() -> None:
    assert list(catalogue.MODELS) == list(names.MODELS)


def test_a_script_for_shells_can_be_shown(forgetune: Callable[..., tuple[int, str, str]]) -> None:
    _, out, _ = forgetune("--help")
    assert "--install-completion" in out
    code, out, _ = forgetune("--show-completion")
    assert code == 0
    assert "_FORGETUNE_COMPLETE" in out
