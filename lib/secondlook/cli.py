"""The command line: arguments in, the library's answers out.

Exit codes: 0 done, 1 something failed or was left out, 2 a mistake in the command or its input, 143 or 130 stopped by
a signal.
"""

import atexit
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

from secondlook.arguments import parser
from secondlook.bar import Bar
from secondlook.parameters import ParameterError
from secondlook.recipe import Recipe, RecipeError
from secondlook.record import RecordError, Records, folder_for
from secondlook.reports import chapters, names, read
from secondlook.training import patient_threads
from secondlook.training.machine import side_by_side


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    _settle_in()
    arguments = parser().parse_args(argv)
    patient_threads()
    from secondlook.data import DataError

    warnings.showwarning = lambda message, *_: print(f"secondlook: {message}", file=sys.stderr)
    try:
        return COMMANDS[arguments.command](arguments)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on
        return 0
    except (ParameterError, RecipeError, RecordError, DataError, OSError) as error:
        print(f"secondlook: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _settle_in() -> None:
    """Prints what the encoding of the output lacks as "?", and gives a home to a user who has none, for caches."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    try:
        Path.home()
    except RuntimeError:  # HOME is not set, and the system does not know the user: a container
        os.environ["HOME"] = tempfile.mkdtemp(prefix="secondlook-")
        atexit.register(shutil.rmtree, os.environ["HOME"], ignore_errors=True)


def _list(arguments) -> int:
    from secondlook.estimates import estimate, told

    store, rows, execution = Records(arguments.records_dir, arguments.runs_dir), [], _here(arguments.profile)
    for name in [arguments.report] if arguments.report else names():
        recipes = read(name).recipes(profile=arguments.profile)
        rows += list(zip(recipes, store.each(recipes)))
    rows = [(r, record is not None) for r, record in rows if record is None or not arguments.missing]
    here = execution.device, execution.processes
    if arguments.json:
        estimate([r for r, _ in rows], *here)  # which counts and measures at once what is asked one by one
        print(json.dumps([_row(p, present, execution.device) for p, present in rows], indent=1))
        return int(bool(store.problems))
    missing = [r for r, present in rows if not present]
    together, runs = estimate(missing, *here), {}
    for recipe, present in rows:
        runs.setdefault((recipe.report, recipe.variant, recipe.sweep), []).append((recipe, present))
    for (report, variant, run), group in runs.items():
        own = [recipe for recipe, present in group if not present]
        state = f"{len(own)} missing, about {told(estimate(own, *here).minutes)}" if own else "all there"
        points = len({recipe.run for recipe, _ in group})
        run += f" ({points} points)" if points > 1 else ""
        print(f"{report:<11} {variant:<13} {run:<28} {arguments.profile:<7} {_counted(len(group)):>11}  {state}")
    print(f"{_counted(len({r.id for r in missing}))} missing, {together}" if missing else "nothing is missing")
    return int(bool(store.problems))


def _row(recipe: Recipe, present: bool, device: str) -> dict:
    from secondlook.estimates import estimate

    row = {k: getattr(recipe, k) for k in ("report", "run", "variant", "profile", "seed", "id")}
    return row | {"present": present, "minutes": round(estimate([recipe], device).minutes, 4)}


def _here(profile: str):
    """How this machine trains where nothing else is said."""
    from secondlook.runs import Execution

    return Execution(device=Execution().resolved_device(), processes=side_by_side(profile))


def _data(arguments) -> int:
    from secondlook import data

    chosen = arguments.names or list(data.DATA_SETS)
    for name in chosen:
        if name not in data.DATA_SETS:
            raise data.DataError(f"unknown data set {name!r}; expected one of {', '.join(data.DATA_SETS)}")
        if arguments.action == "fetch":
            data.fetch(name, arguments.data_dir)
    rows = [row for row in data.summary(arguments.data_dir) if row["name"] in chosen]
    for row in rows:
        print(f"{row['name']:<9} {row['state']:<9} {row['digest'] or '':<13} {row['where']}")
    return 0 if arguments.action == "list" or all(row["state"] == "verified" for row in rows) else 1


def _train(arguments) -> int:
    from secondlook.estimates import core_time
    from secondlook.runs import estimate_for, produce, unique, without_record

    if bool(arguments.reports) == arguments.all:
        raise ParameterError(f"name one or more reports, or pass --all: {', '.join(names())}")
    chosen = (arguments.run, arguments.variant, arguments.profile, arguments.seeds)
    reports = names() if arguments.all else arguments.reports
    recipes = unique([recipe for name in reports for recipe in read(name).recipes(*chosen)])
    store = Records(arguments.records_dir, arguments.runs_dir)
    wanted = recipes if arguments.again else without_record(recipes, store)
    execution = _execution(arguments)
    takes = f"about {core_time(wanted)}" if execution.cluster else estimate_for(wanted, execution) if wanted else ""
    print(f"{_counted(len(recipes))} wanted, {len(wanted)} to train{f', {takes}' * bool(wanted)}", flush=True)
    if arguments.dry_run:
        return 0
    made, again = [], ", which makes again what it had finished" * arguments.again
    if (code := _to_the_end(lambda: made.extend(produce(wanted, execution)), execution, again)) is not None:
        return code
    folders = sorted({str(folder_for(r.recipe, arguments.records_dir, arguments.runs_dir)) for r in made})
    diverged = sum(r.status == "diverged" for r in made)
    print(f"{_counted(len(made))} written" + (f" to {' and '.join(folders)}" if made else "")
          + (f", {diverged} of them diverged" if diverged else ""))  # fmt: skip
    return 0


def _execution(arguments):
    """How a command trains that was told where and for how long."""
    from secondlook.runs import Execution

    deadline = None if arguments.max_minutes is None else time.monotonic() + 60 * arguments.max_minutes
    execution = Execution(arguments.data_dir, arguments.records_dir, arguments.runs_dir, arguments.device, deadline)
    execution.processes, execution.cluster = arguments.processes or side_by_side(arguments.profile), arguments.cluster
    execution.send_data = arguments.send_data
    if not execution.cluster:
        execution.device = execution.resolved_device()
    return execution


def _to_the_end(work, execution, more: str = "") -> int | None:
    """Calls `work` with a progress bar; None where it came to its end, and the exit code where it did not."""
    from secondlook.cluster import WorkerError
    from secondlook.training.checkpoint import CheckpointError
    from secondlook.training.stopping import Stopped, stop_on_signals

    execution.progress = bar = Bar()
    try:
        with stop_on_signals():
            work()
    except Stopped as stop:
        bar.close()
        command = shlex.join(["secondlook", *sys.argv[1:]])
        print(f"stopped; everything is saved. Go on with the same command{more}:\n  {command}")
        return 0 if stop.signal is None else 128 + stop.signal
    except (CheckpointError, WorkerError) as error:
        bar.close()
        print(f"secondlook: {error}", file=sys.stderr)
        return 1 if isinstance(error, WorkerError) else 2
    bar.close()
    return None


def _tune(arguments) -> int:
    from secondlook.tune import METRIC, Study

    report, slash, run = arguments.model.partition("/")
    if not slash:
        raise RecipeError(f"{arguments.model!r} names no run; write REPORT/RUN, for instance optimizers/initial-adam")
    recipe = read(report).recipes(run, arguments.variant, arguments.profile)[0]
    path = arguments.study or arguments.runs_dir / "studies" / f"{report}-{run}.db"
    study, execution = Study(recipe, path, tuple(arguments.over)), _execution(arguments)
    print(f"{recipe}: {len(study.ended())} of {arguments.trials} trials are there, in {path}", flush=True)
    code = _to_the_end(lambda: study.run(arguments.trials, execution), execution)
    whole = sorted((t for t in study.ended() if t.state.name == "COMPLETE"), key=lambda t: -t.value)
    own = next((t for t in whole if t.params == study.values), None)
    rows = [{**t.params, METRIC: t.value, "trial": t.number} for t in whole]
    if arguments.json:
        print(json.dumps({"report": study.values, "trials": rows, "ended": len(study.ended())}, indent=1))
        return code or 0
    for row, t in zip(rows[:5], whole):
        told = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in t.params.items())
        print(f"{row[METRIC]:7.2%} on held-out images: {told}{' (as the report)' * (t is own)}")
    print(f"{len(study.ended())} trials ended, {len(study.ended()) - len(whole)} of them before all epochs")
    return code or 0


def _counted(count: int) -> str:
    return f"{count} record{'s' * (count != 1)}"


def _execute(arguments) -> int:
    from secondlook.execute import execute, trains
    from secondlook.runs import produce

    if bool(arguments.reports) == arguments.all:
        raise ParameterError(f"name one or more reports, or pass --all: {', '.join(chapters())}")
    names = chapters() if arguments.all else arguments.reports
    if arguments.cluster:
        recipes, execution = trains(names, arguments.parameter)
        execution.cluster, execution.send_data = arguments.cluster, arguments.send_data
        print(f"{_counted(len(recipes))} to train on {arguments.cluster}", flush=True)
        if (code := _to_the_end(lambda: produce(recipes, execution), execution)) is not None:
            return code
    return execute(names, arguments.parameter, arguments.out_dir, arguments.timeout)


def _check(arguments) -> int:
    from secondlook.claims.judge import judge

    chosen = [read(arguments.report).name] if arguments.report else names()
    if not arguments.records_dir.is_dir():
        raise RecordError(f"{arguments.records_dir}: there is no such folder; --records-dir names the one with records")
    store = Records(arguments.records_dir)
    found = [j for name in chosen for j in judge(name, store)]
    if arguments.json:
        print(json.dumps([j.as_dict() for j in found], indent=1))
    for j in found if not arguments.json else ():
        rests_on = f"{'':<27} Rests on: {j.rests_on}\n" if j.rests_on else ""
        print(f"{j.id:<4} {j.verdict:<22} {j.says}\n{rests_on}{'':<27} {j.why}")
        if j.indication:
            print(f"{'':<27} Indication, no verdict: {j.indication.says}")
    return int(bool(store.problems))


def _predict(arguments) -> int:
    from secondlook.files import check_writable
    from secondlook.predict import predict

    out = arguments.out or arguments.image.with_suffix(".cam.png")
    check_writable(out.absolute().parent, "--out")
    store = Records(arguments.records_dir)
    found = predict(arguments.model, arguments.image, store, arguments.runs_dir, arguments.variant)
    found.picture.save(out)
    best = dict(list(found.probabilities.items())[:5])
    if arguments.json:
        print(json.dumps({"record": found.record.id, "probabilities": best, "picture": str(out)}, indent=1))
        return 0
    print(f"{found.record.recipe}, trained on {found.record.data_name}")
    for name, share in best.items():
        print(f"{name:<16} {share:7.2%}")
    print(f"where it looks: {out}")
    return 0


COMMANDS = {
    "list": _list,
    "data": _data,
    "train": _train,
    "tune": _tune,
    "execute": _execute,
    "check": _check,
    "predict": _predict,
}
