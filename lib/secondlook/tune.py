"""A study of hyper-parameters whose trials are runs of a report: `secondlook tune`.

Optuna proposes settings. A trial trains for a quarter, a half and all of the epochs, each time from the start, and goes
on only while its accuracy on held-out images is among the better half of those that came as far (successive halving, Li
et al. 2018). The test set stays closed. The study is a SQLite file and each training a record: what was interrupted
goes on.
"""

from dataclasses import asdict, replace
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import DatabaseError

from secondlook.checks import RecipeError, nearest
from secondlook.files import check_writable
from secondlook.parameters import TABLES, changed
from secondlook.recipe import Recipe
from secondlook.record import RecordError, Records
from secondlook.runs import Execution, produce, without_record

SHARES = (4, 2, 1)  # of the epochs: a quarter, a half, all
HELD_OUT = 0.1  # of the training images, where the report holds none out
SPAN = 30.0  # times the report's value, up and down, on a logarithmic scale
MOST = 0.1  # from 0, where the report's value is 0
OVER = ("learning_rate", "weight_decay", "strength")  # the first of these that a run has, if nothing else is asked for
METRIC = "validation_accuracy"


class Study:
    """The study of one recipe over some of its parameters, by the names a chapter's first cell gives them.

    `path` is the SQLite file. Raises RecipeError, before any work, for a run without an accuracy on held-out images and
    for what it has no number of; RecordError for a file that is no study, OSError for one that cannot be written.
    """

    def __init__(self, recipe: Recipe, path: Path, over: tuple[str, ...] = (), seed: int = 0):
        if recipe.kind not in ("classifier", "linear"):
            raise RecipeError(f"{recipe}: only runs of a classifier are tuned, not of kind {recipe.kind!r}")
        self.recipe = replace(recipe, keep="metrics").customised(
            **{"data.validation": recipe.data.validation or HELD_OUT, "test": False}
        )
        self.values = {name: value for name in OVER if (value := _value(self.recipe, name)) is not None}
        if over:
            self.values = {name: _value(self.recipe, name) for name in over}
        for name, value in self.values.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise RecipeError(f"{recipe}: {name} is no number that can be tuned{nearest(name, OVER)}")
        check_writable(path.absolute().parent, "--study")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            self.study = optuna.create_study(
                storage=f"sqlite:///{path.absolute()}", study_name=f"{self.recipe.id}-{'-'.join(self.values)}",
                sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True),
                pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
                direction="maximize", load_if_exists=True,
            )  # fmt: skip
        except (DatabaseError, optuna.exceptions.OptunaError) as error:
            told = str(error).splitlines()[0]
            raise RecordError(f"{path}: this is no study ({told}); delete it, or name another with --study") from None
        if not self.study.trials:
            self.study.enqueue_trial(self.values)  # the report's own settings are the first

    def epochs(self, share: int) -> float:
        """The epochs of a rung: whole ones but for the linear classifier, which takes parts of one."""
        whole = self.recipe.settings.epochs
        return whole / share if self.recipe.kind == "linear" else max(1, round(whole / share))

    def ended(self) -> list[FrozenTrial]:
        return self.study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))

    def run(self, trials: int, execution: Execution) -> None:
        """Goes on until the study has `trials` that ended; twice as many as there are processes train at a time.

        Raises as `runs.produce`; the trials then begun are taken up by the next call.
        """
        for left in self.study.get_trials(states=(TrialState.RUNNING,)):
            self.study.tell(left.number, state=TrialState.FAIL)
            self.study.enqueue_trial(left.params)
        while (open_ := trials - len(self.ended())) > 0:
            together = [self.study.ask() for _ in range(min(open_, max(2, 2 * execution.processes)))]
            proposed = {trial: self.proposed(trial) for trial in together}
            for share in SHARES:
                self._rung(proposed, share, execution)

    def proposed(self, trial: Trial) -> Recipe:
        """The recipe with what the study proposes for this trial."""
        found = {}
        for name, value in self.values.items():
            if not value:
                found[name] = trial.suggest_float(name, 0.0, MOST)
            elif isinstance(value, int):
                found[name] = trial.suggest_int(name, max(1, round(value / SPAN)), round(value * SPAN), log=True)
            else:
                found[name] = trial.suggest_float(name, value / SPAN, value * SPAN, log=True)
        return changed(self.recipe, **found)

    def _rung(self, proposed: dict[Trial, Recipe], share: int, execution: Execution) -> None:
        """Trains those that are still in for this share of the epochs, and ends those that the others leave behind."""
        epochs = self.epochs(share)
        recipes = {trial: recipe.customised(epochs=epochs) for trial, recipe in proposed.items()}
        store = Records(execution.runs_dir)
        produce(without_record(list(recipes.values()), store), replace(execution, records_dir=execution.runs_dir))
        for trial, recipe in recipes.items():
            reached = store.get(recipe).metrics.get(METRIC) or 0.0  # a run that diverged has none
            trial.report(reached, SHARES[0] // share)
            if share == SHARES[-1]:
                self.study.tell(trial, reached)
            elif trial.should_prune():
                self.study.tell(trial, state=TrialState.PRUNED)
                del proposed[trial]


def _value(recipe: Recipe, name: str):
    """What a recipe sets for a parameter; None where it has no such setting."""
    table, _, key = TABLES.get(name, "").partition(".")
    settings = asdict(recipe.settings)
    if isinstance(own := settings.get(table), dict):
        return own.get(key, 0.0 if name == "weight_decay" else None)
    return settings.get(name)
