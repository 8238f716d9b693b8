"""A study from end to end: prepare, search, read the results. The Python interface."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from rich.console import Console

from search.analysis.best import by_gap
from search.definition.reading import load_spec
from search.definition.resolved import fingerprint, forgotten, notes, scenario_of
from search.definition.resolving import resolve
from search.definition.spec import StudySpec, measured, pool_seed
from search.ledger import again
from search.ledger.ledger import Ledger
from search.show.progress import Progress
from search.store import results
from search.store.mirror import locate, mirror_of
from trainables.artifacts.files import check_weights_name
from trainables.scenario import Places

if TYPE_CHECKING:
    from search.engine.allotment import Allotment
    from search.engine.depot import Depot
    from search.engine.machines import Fleet
    from trainables.workbench import Workbench


_TOLD: set[tuple[str, ...]] = set()


class Study:
    """A hyperparameter search that can be run, interrupted, continued and read.

    Study.from_toml("study.toml").run()

    `places` says where data and artifacts lie, `root` where results go: a folder, or a URI such as
    s3://bucket/results; `address` which Ray cluster runs it ("auto": the one of this machine; none:
    this machine alone). Raises InvalidRequest for a specification that cannot be run and a URI that
    cannot be reached.
    """

    def __init__(
        self,
        spec: StudySpec | None = None,
        *,
        root: Path | str = "results",
        places: Places | None = None,
        address: str | None = None,
    ) -> None:
        self.places = places or Places()
        self.address = address
        self.root = locate(root)
        self.spec = resolve(spec or StudySpec(), self.places)

    @classmethod
    def from_toml(
        cls,
        path: Path | str,
        overrides: Mapping[str, Any] | None = None,
        *,
        root: Path | str = "results",
        places: Places | None = None,
    ) -> Study:
        """A study from a TOML file; `overrides` replaces single values, nested as in the file."""
        return cls(load_spec(Path(path), overrides or {}), root=root, places=places)

    @property
    def name(self) -> str:
        """The study's name; its results lie in `study=NAME` of the results folder."""
        assert self.spec.name is not None
        return self.spec.name

    @property
    def forgotten(self) -> str:
        """What is to be forgotten, for people: `class 1 ('cat')`."""
        return forgotten(self.spec, self.places)

    @property
    def folder(self) -> Path:
        return results.study_folder(self.root, self.name)

    def run(
        self,
        progress: Progress | None = None,
        *,
        made_from: Mapping[str, Any] | None = None,
        retry: Sequence[str] = (),
    ) -> bool:
        """Run until the target number of trials has settled; whether it has.

        `made_from` says, in plain values, what a study of repeats was made from: study.json keeps
        it, beside what it was made from before. It says nothing of what the study is.
        What settled before, in this process or another, is not run again, but for trials in the
        states of `retry` ("crashed", "oom", "timeout", "diverged", "starved", "pruned"). False
        means that the time budget was over. That all have settled does not say that any is
        complete: `results` tells, in the column `state`. Raises KeyboardInterrupt after Ctrl-C,
        StudyHeld if another process runs the study, InvalidRequest for impossible resources, a
        changed specification, an unusable folder, an unknown state and a cause that crashed each of
        the first trials (`give_up_after`), and the error of a base model or generator that cannot
        be built.
        """
        states = again.checked(retry)
        about = fingerprint(self.spec, self.places)
        with (
            progress or Progress(Console(quiet=True)) as shown,
            Ledger(self.spec, self.root, about, states) as ledger,
        ):
            for note in ledger.notes:
                shown.say(note)
            if made_from is not None:
                ledger.record_origin(made_from)
            self._tell_notes(shown)
            try:
                if not ledger.finished:
                    self._search(ledger, shown)
            finally:
                ledger.compact()
            return ledger.finished

    def save_best(self, path: Path) -> bool:
        """Run the best trial once more, here, and write its unlearned weights (safetensors).

        False if no trial is complete. Raises InvalidRequest for a name that does not end in
        ".safetensors" and OSError if the file cannot be written.
        """
        check_weights_name(path)
        from trainables.trial import run_trial
        from trainables.workbench import save_model, shared_workbench, use_threads

        chosen = self.best()
        if chosen is None:
            return False
        use_threads(self.spec.resources.cpus_per_trial)  # as a worker, for equal numbers
        bench = shared_workbench(scenario_of(self.spec), self.places)
        values = json.loads(chosen["params_json"])
        pool = pool_seed(self.spec)
        _, model = run_trial(bench, self.spec.method, values, chosen["seed"], pool=pool)
        if model is not None:
            save_model(model, path, bench.image_shape[1:])
        return model is not None

    def best(self) -> results.Row | None:
        """The row of the trial with the smallest gap; None if no trial is complete."""
        return next(iter(by_gap(self.results(), 1).to_pylist()), None)

    def results(self) -> pa.Table:
        """Every settled trial as an Arrow table; `.to_pandas()` gives a data frame."""
        return results.scan(self.root, self.name)

    def prepare(self, progress: Progress | None = None) -> None:
        """Build what the trials share, unless it is there.

        Raises InvalidRequest for impossible resources and the error of what cannot be built.
        """
        with progress or Progress(Console(quiet=True)) as shown:
            self._tell_notes(shown)
            shown.doing("starting Ray")
            from search.engine.connection import connected
            from search.engine.depot import Depot

            with (
                connected(self.address),
                Depot(scenario_of(self.spec), self.places) as depot,
            ):
                self._prepare(shown, depot)

    def preview(self, folder: Path) -> list[Path]:
        """Write contact sheets (PNG) of the study's generators, and of real images where there are
        any, into `folder`; what was written. Builds what is missing, here.

        Raises OSError if the folder cannot be written.
        """
        return self._write_previews(folder, real=True)

    def _write_previews(self, folder: Path, *, real: bool) -> list[Path]:
        from search.engine import preparation
        from trainables.preview import sheets, write_sheet
        from trainables.workbench import shared_workbench

        bench = shared_workbench(scenario_of(self.spec), self.places)
        names = [name for stage in preparation.parts(bench, self.spec) for name in stage]
        written = []
        for title, images in sheets(bench, names, real=real):
            folder.mkdir(parents=True, exist_ok=True)
            written.append(folder / f"{title}.png")
            write_sheet(written[-1], images)
            mirror = mirror_of(written[-1].absolute())
            if mirror is not None:
                mirror.push(written[-1].absolute())
        return written

    def _prepare(
        self, shown: Progress, depot: Depot
    ) -> tuple[Workbench, Allotment, dict[str, float | None], Fleet | None]:
        from search.engine import preparation
        from search.engine.allotment import allot
        from search.engine.connection import ours
        from search.engine.machines import Fleet
        from trainables.workbench import shared_workbench

        fleet = None
        if depot.shipment is not None:
            shown.doing("asking the machines for their versions")
            fleet = Fleet()
            fleet.check()
            shown.listen(depot.news)
        elif not ours():  # its workers may look for modules in any folder
            shown.doing("asking for the versions of workers")
            Fleet().check()

        def tick() -> None:
            shown.hear()
            for address in fleet.look() if fleet is not None else ():
                shown.say(f"the machine {address} joined")

        allotment = allot(self.spec)
        shown.doing("preparing what the trials share")
        bench = shared_workbench(scenario_of(self.spec), self.places)

        def report(name: str, found: dict[str, Any], done: int, total: int) -> None:
            shown.prepared(bench.title(name), found, done, total)

        spent = preparation.prepare(
            bench, self.spec, self.places, allotment, report, tick, depot.shipment
        )
        found = list(spent.values()).count(None)
        where = self.places.artifacts
        shown.say(f"artifacts: {len(spent) - found} built, {found} found in {where}")
        return bench, allotment, spent, fleet

    def _tell_notes(self, shown: Progress) -> None:
        """What is to be said of the dataset: once, however many studies of it this process runs."""
        found = notes(self.spec, self.places)
        for note in found if found not in _TOLD else ():
            shown.say(note)
        _TOLD.add(found)

    def _search(self, ledger: Ledger, shown: Progress) -> None:
        shown.doing("starting Ray")
        from search.engine.connection import connected
        from search.engine.depot import Depot

        with connected(self.address), Depot(scenario_of(self.spec), self.places) as depot:
            self._run_trials(ledger, shown, depot)

    def _run_trials(self, ledger: Ledger, shown: Progress, depot: Depot) -> None:
        from search.engine import fusing, scheduling
        from search.engine.allotment import alone
        from trainables.trainable import trainable
        from trainables.training.memory import training_bytes

        bench, allotment, spent, fleet = self._prepare(shown, depot)
        ledger.class_names = bench.classes
        ledger.record_references(bench.measured(measured(self.spec)))
        ledger.record(
            {
                "classes": list(bench.classes),
                "references_by_class": bench.references_by_class,
                "training_curves": bench.training_curves,
            }
        )
        ledger.record_preparation(spent)
        try:
            self._write_previews(self.folder / "previews", real=False)
        except OSError as error:
            raise results.unusable(self.folder, error) from error
        what_it_takes = partial(training_bytes, bench.base, bench.image_shape)
        count = fusing.together(self.spec, allotment, what_it_takes)
        if count != allotment.fuse:
            allotment = replace(allotment, fuse=count)
            shown.say(f"{count} trials share a place, as one computation")
        shown.begin(ledger.rows, ledger.target)
        kind = trainable(
            self.spec.method,
            bench.scenario,
            places=self.places,
            timeout=self.spec.trial_timeout,
            expensive=measured(self.spec),
            curve=self.spec.curves,
            report_phases=self.spec.pruner != "none",
            pool=pool_seed(self.spec),
            settle_failures=True,
            shipment=depot.shipment,
        )
        ledger.spare_memory = 0 < allotment.gpus < 1
        deadline = time.monotonic() + (self.spec.time_budget or math.inf)
        scheduling.run_trials(ledger, kind, allotment, shown, deadline, fleet)
        if time.monotonic() < deadline and ledger.hand_out_alone():
            scheduling.run_trials(ledger, kind, alone(allotment), shown, deadline, fleet)
        shown.end()
