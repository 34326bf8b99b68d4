"""Search settings beyond a grid with Optuna: each trial is a few runs, and is worth what dev says.

A study lies beside the runs that it asked for, so that a search that was killed goes on, and asks
for the same settings as one that was left alone: what is asked for follows from the trials before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from types import ModuleType
from typing import Any

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.disk import unwritten
from paddlenlp_ext.reproduce.runs import Run
from paddlenlp_ext.reproduce.tables import Range, Row, Table, Word

STUDY = "search.log"
MENDS = "mends"  # the number of a trial that failed, with a trial of its runs when they succeeded
Settings = Mapping[str, Any]


def require(table: Table) -> ModuleType:
    """Return Optuna.

    Raises:
        UserError: It is not installed, or the table has no ranges.
    """
    if not table.search:
        raise UserError(f"`search`: {table.name} has no ranges to search in")
    try:
        import optuna
    except ImportError:
        raise UserError(
            "`search` needs Optuna: pip install 'paddlenlp-ext[search]'; `grid` does without"
        ) from None
    return optuna  # type: ignore[no-any-return]


class Search:
    """The search of a row.

    Args:
        table: With the ranges of `search`.
        row: Whose settings are searched.
        folder: In which the table has its own.

    Raises:
        UserError: It was searched with other ranges, its file cannot be written, or Optuna is not
            installed.
    """

    def __init__(self, table: Table, row: Row, folder: Path) -> None:
        self._optuna = optuna = require(table)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        place = folder / table.name / row.key
        place.mkdir(parents=True, exist_ok=True)
        self._path = place / STUDY
        with self._writing():
            file = optuna.storages.journal.JournalFileBackend(str(self._path))
            self._study = optuna.create_study(
                study_name=row.key,
                storage=optuna.storages.JournalStorage(file),
                direction="maximize",
                load_if_exists=True,
            )
        self._ranges = {name: self._range(values) for name, values in table.search.items()}
        for trial in self._study.trials:
            chosen = trial.distributions
            has_all = chosen.keys() == self._ranges.keys() or not trial.state.is_finished()
            if not has_all or not chosen.items() <= self._ranges.items():
                raise UserError(
                    f"{self._path}: was searched with other ranges than those of 'search' in "
                    f"{table.name}; give the earlier ones or another `output_dir`, or delete it"
                )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(unwritten(error, self._path)) from error

    def _range(self, values: Sequence[Word] | Range) -> Any:
        kinds = self._optuna.distributions
        if isinstance(values, Range):
            if isinstance(values.low, int) and isinstance(values.high, int):
                return kinds.IntDistribution(values.low, values.high, log=values.log)
            return kinds.FloatDistribution(values.low, values.high, log=values.log)
        return kinds.CategoricalDistribution(values)

    @property
    def _trials(self) -> list[Any]:
        """All trials so far, but those whose settings a killed process has not chosen any more."""
        return [one for one in self._study.trials if one.params.keys() == self._ranges.keys()]

    @property
    def tried(self) -> list[Settings]:
        """The settings of all trials so far, as they came, each once."""
        return [*{repr(trial.params): trial.params for trial in self._trials}.values()]

    @property
    def failed(self) -> list[tuple[int, Settings]]:
        """The numbers and the settings of trials of which runs failed, as long as they do."""
        trials = self._trials
        mended = {trial.user_attrs.get(MENDS) for trial in trials}
        fail = self._optuna.trial.TrialState.FAIL
        return [
            (trial.number, trial.params)
            for trial in trials
            if trial.state == fail and trial.number not in mended
        ]

    def ask(self, trials: int) -> tuple[int, Settings] | None:
        """Return the number and the settings of the next trial, or of one that was not told.

        Args:
            trials: After so many there is no next one.
        """
        known = self._trials
        for trial in known:
            if not trial.state.is_finished():
                return trial.number, trial.params
        if sum(MENDS not in trial.user_attrs for trial in known) >= trials:
            return None
        self._study.sampler = self._optuna.samplers.TPESampler(seed=len(known))
        with self._writing():
            asked = self._study.ask(self._ranges)
        return asked.number, asked.params

    def tell(self, number: int, runs: Sequence[Run]) -> None:
        """Say what a trial is worth: the mean score of its runs, or that some have failed.

        Args:
            number: Of the trial; one that is known to have failed can only be mended.
            runs: Its runs.
        """
        scores = [found.score for run in runs if (found := run.measured()) is not None]
        worth = fmean(scores) if len(scores) == len(runs) else None
        with self._writing():
            self._tell(number, worth)

    def _tell(self, number: int, worth: float | None) -> None:
        trial = self._study.trials[number]
        states = self._optuna.trial.TrialState
        if worth is None:
            if trial.state != states.FAIL:
                self._study.tell(number, state=states.FAIL)
        elif trial.state != states.FAIL:
            self._study.tell(number, worth)
        else:
            mended = self._optuna.trial.create_trial(
                value=worth,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs={MENDS: number},
            )
            self._study.add_trial(mended)
