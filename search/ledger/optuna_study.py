"""A study as Optuna has it: trials are drawn from it and told to it, and its journal keeps them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import BaseTrial, FixedTrial, FrozenTrial, Trial, TrialState, create_trial

from search.definition import pruners, samplers
from search.definition.space import SearchSpace
from search.definition.spec import StudySpec
from search.ledger.journal import Draft, Journal, repair
from search.ledger.rows import as_text
from search.ledger.steering import DIRECTIONS, reported, steering, verdict
from search.ledger.ticket import Ticket
from search.store.results import Row
from trainables.artifacts.files import write_whole

ROW = "row"
"""User attribute of an Optuna trial that holds its Parquet row as JSON."""


class OptunaStudy:
    """Optuna's side of the study in `folder`, for the one process that holds the study.

    To be opened before all else. What writes the journal raises OSError if it cannot.
    """

    def __init__(self, spec: StudySpec, folder: Path) -> None:
        self.spec = spec
        self.space = SearchSpace(spec.method, spec.space)
        self._path = folder / "journal.log"

    def discard(self) -> None:
        """Begin anew: what this machine knew of running trials may be long past."""
        self._path.unlink(missing_ok=True)

    def open(self) -> list[str]:
        """Load what is there, or begin; notes on what was found damaged."""
        notes = repair(self._path)
        self.study, self._journal = self._in(Journal(self._path))
        self._id = self._journal.get_study_id_from_name(self.study.study_name)
        return notes

    def _in(self, journal: BaseJournalBackend) -> tuple[optuna.Study, JournalStorage]:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        names = list(steering(self.spec))
        storage = JournalStorage(journal)
        study = optuna.create_study(
            storage=storage,
            study_name=self.spec.name,
            directions=[DIRECTIONS[name] for name in names],
            pruner=pruners.make(self.spec.pruner),
            load_if_exists=True,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if study.metric_names != names:  # what Optuna's dashboard calls the objectives
                study.set_metric_names(names)
        return study, storage

    def trials(self) -> list[FrozenTrial]:
        """All trials as they stand in the journal, by number."""
        return self.study.get_trials(deepcopy=False)

    def rewrite(self, trials: Iterable[FrozenTrial]) -> list[str]:
        """Put these trials in place of all that there are, at once or not at all, and open that."""
        draft = Draft()
        study, _ = self._in(draft)
        for trial in trials:
            study.add_trial(trial)
        write_whole(self._path, draft.content())
        return self.open()

    # Drawing trials

    def ask(self, number: int) -> Trial:
        """A trial that was not asked for before; it is to have this number."""
        self.use_sampler(number)
        return self.study.ask()

    def ask_again(self, trial: FrozenTrial) -> Trial:
        """A trial that was asked for and has not settled, to be drawn to its end as it would have
        been; what was drawn stays."""
        self.use_sampler(trial.number)
        return self._running(trial.number)

    def use_sampler(self, number: int) -> None:
        """Draw from here on as for the trial of this number: what is drawn follows from it and from
        what was told, not from how often a study was interrupted."""
        self.study.sampler = samplers.make(
            self.spec.sampler, self.spec.seed, number, self.space.distributions
        )

    def ticket(self, trial: BaseTrial) -> Ticket:
        """Draw the hyperparameters of a trial, but for those that it has."""
        return Ticket(
            number=trial.number,
            attempt=1,
            hyperparameters=self.space.suggest(trial),
            seed=samplers.derive_seed(self.spec.seed, "unlearning", trial.number),
        )

    # Telling what came of them

    def report(self, number: int, value: float, phase: int) -> bool:
        """Tell the value of the one objective after a phase (from 1); whether to stop there."""
        trial = self._running(number)
        trial.report(value, step=phase)
        return trial.should_prune()

    def tell(self, row: Row) -> None:
        """Tell what came of a trial, after putting the row into the journal as its second copy; of
        a trial that is over nothing is told."""
        number = row["number"]
        identifier = self._identifier(number)
        trial = self._journal.get_trial(identifier)
        if trial.state.is_finished():
            return
        if trial.state == TrialState.WAITING:
            self._journal.set_trial_state_values(identifier, TrialState.RUNNING)
        self._journal.set_trial_user_attr(identifier, ROW, as_text(row))
        found = verdict(self.spec, row)
        for name, value in found.constraints.items():
            Trial(self.study, identifier).set_constraint(name, value)
        values = found.values
        if found.state is TrialState.PRUNED:
            # Optuna takes the value of a pruned trial from its last report, and only from there.
            for phase, value in reported(self.spec, row).items():
                if phase not in trial.intermediate_values:
                    self._journal.set_trial_intermediate_value(identifier, phase, value)
            values = None
        self.study.tell(number, values, state=found.state)

    def add(self, row: Row | None) -> None:
        """Add the next trial to a journal that lost it: a settled one, or one whose place is kept
        to be drawn again."""
        self.study.add_trial(self._settled(row) if row else create_trial(state=TrialState.WAITING))

    def _settled(self, row: Row) -> FrozenTrial:
        params = json.loads(row["params_json"])
        fixed = FixedTrial(params)
        self.space.suggest(fixed)
        searched = fixed.distributions
        found = verdict(self.spec, row)
        return create_trial(
            state=found.state,
            values=found.values,
            params={name: params[name] for name in searched},
            distributions=searched,
            user_attrs={ROW: as_text(row)},
            constraints=found.constraints,
            intermediate_values=reported(self.spec, row),
        )

    # A trial by its number, without a look at all the others

    def _identifier(self, number: int) -> int:
        return self._journal.get_trial_id_from_study_id_trial_number(self._id, number)

    def _running(self, number: int) -> Trial:
        return Trial(self.study, self._identifier(number))
