"""The command line: arguments in, the library's answers out.

Exit codes: 0 done, 1 something failed or was left out, 2 a mistake in the command or its input, 143 or 130 stopped by
a signal.
"""

import argparse
import atexit
import json
import math
import os
import shlex
import shutil
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from pathlib import Path

from secondlook import __version__, parameters
from secondlook.parameters import ParameterError
from secondlook.recipe import PROFILES, VARIANTS, Recipe, RecipeError
from secondlook.record import RecordError, Records, folder_for
from secondlook.reports import ROOT, chapters, names, read
from secondlook.training import patient_threads
from secondlook.training.machine import cores, side_by_side

PROFILE = (
    "full (the report's own protocol, the default), reduced (all real images, hours on two cores), quick (fewer "
    "images, minutes) or smoke (stand-ins, seconds)"
)
DATA_DIR = "where the data sets lie (default: the project's data/)"
RECORDS_DIR = "where records of real data lie (default: the project's records/)"


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    _settle_in()
    arguments = _parser().parse_args(argv)
    patient_threads()
    from secondlook.data import DataError

    warnings.showwarning = lambda message, *_: print(f"secondlook: {message}", file=sys.stderr)
    try:
        return arguments.run_command(arguments)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="secondlook", description="Five reports on image classification, run again.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    with suppress(ImportError):  # an environment from before it was asked for goes on without
        import shtab

        shtab.add_argument_to(parser, "--print-completion", help="what a shell needs to complete these commands")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    listing = _command(commands, "list", _list, "reports, runs, and which records are there")
    listing.add_argument("report", nargs="?", help="only this report")
    listing.add_argument("--missing", action="store_true", help="only what has no record")
    listing.add_argument("--profile", choices=PROFILES, default="full", help=PROFILE)
    _json_and_folders(listing)

    data = _command(commands, "data", _data, "the data sets: fetch, check or list them")
    data.add_argument("action", choices=("fetch", "check", "list"))
    data.add_argument("names", nargs="*", help="cifar10, cifar100, mnist; all when none is named")
    data.add_argument("--data-dir", type=Path, default=ROOT / "data", help=DATA_DIR)

    train = _command(commands, "train", _train, "train what has no record yet; stops and resumes cleanly")
    train.add_argument("report", help="its name, as `secondlook list` shows it")
    train.add_argument("--run", help="only this run (a run with a grid stands for all its points)")
    train.add_argument("--variant", choices=VARIANTS[:-1], help="only this variant")
    train.add_argument("--profile", choices=PROFILES, default="full", help=PROFILE)
    train.add_argument("--seeds", type=seeds, help="for instance 0-5 or 0,2,4; the report's own when not given")
    train.add_argument("--max-minutes", type=minutes, help="save and stop after this long; the same command goes on")
    train.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 …")
    told = "runs at a time on a processor, a thread each; one a core where memory allows when not given"
    train.add_argument("--processes", type=count, help=told)
    train.add_argument("--again", action="store_true", help="also what has a record already")
    train.add_argument("--data-dir", type=folder, default=ROOT / "data", help=DATA_DIR)
    _json_and_folders(train, with_json=False)

    execute = _command(commands, "execute", _execute, "run chapters through papermill, strictly checked")
    execute.add_argument("reports", nargs="*", help="names of chapters")
    execute.add_argument("--all", action="store_true", help="every chapter, one after the other")
    execute.add_argument("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE",
                         help="a parameter of the notebook's first cell, for instance profile=smoke")  # fmt: skip
    execute.add_argument("--out-dir", type=Path, default=ROOT / "runs" / "execute",
                         help="where the executed notebooks go (default: the project's runs/execute/)")  # fmt: skip
    execute.add_argument("--timeout", type=int, default=1800, help="seconds a cell may take (default 1800)")

    check = _command(commands, "check", _check, "every claim and its verdict")
    check.add_argument("report", nargs="?", help="only this report")
    _json_and_folders(check)

    predict = _command(commands, "predict", _predict, "what a trained model says of an image of your own")
    predict.add_argument("model", help="REPORT/RUN, for instance vgg/vgg16")
    predict.add_argument("image", type=Path, help="a PNG, JPEG or WebP file; a digit on white or on black")
    predict.add_argument("--variant", choices=VARIANTS[:-1], help="only this variant")
    predict.add_argument("--out", type=Path, help="where the image under its Grad-CAM goes (default: IMAGE.cam.png)")
    _json_and_folders(predict)
    return parser


def _command(commands, name: str, function, says: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=says, description=says[0].upper() + says[1:] + ".")
    parser.set_defaults(run_command=function)
    return parser


def _json_and_folders(parser, with_json: bool = True) -> None:
    if with_json:
        parser.add_argument("--json", action="store_true", help="a list of objects instead of a table")
    parser.add_argument("--records-dir", type=Path, default=ROOT / "records", help=RECORDS_DIR)
    told = "where checkpoints lie, and records of stand-ins and of a reader's own runs (default: the project's runs/)"
    parser.add_argument("--runs-dir", type=Path, default=ROOT / "runs", help=told)


def seeds(text: str) -> list[int]:
    """Numbers from `0-5` or `0,2,4` or a mixture. Raises ArgumentTypeError for anything else."""
    with suppress(ParameterError):
        if found := parameters.seeds(text):
            return found
    raise argparse.ArgumentTypeError(f"{text!r} is no list of seeds; write for instance 0-5 or 0,2,4")


def folder(text: str) -> Path:
    """A folder that is there. Raises ArgumentTypeError for any other."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {Path(text).absolute()}")
    return Path(text)


def minutes(text: str) -> float:
    """A number of minutes from 0. Raises ArgumentTypeError for anything else."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes; write for instance 9")
    return found


def count(text: str) -> int:
    """A number of processes, from 1 to four a core. Raises ArgumentTypeError for anything else."""
    most = 4 * cores()
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= most and len(text) < 9):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of processes from 1 to {most}: {cores()} cores are here"
        )
    return int(text)


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
    from secondlook.runs import Execution, estimate_for, produce, unique, without_record
    from secondlook.training.checkpoint import CheckpointError, Stopped, stop_on_signals
    from secondlook.training.parallel import WorkerError

    recipes = read(arguments.report).recipes(arguments.run, arguments.variant, arguments.profile, arguments.seeds)
    store = Records(arguments.records_dir, arguments.runs_dir)
    recipes = unique(recipes)
    wanted = recipes if arguments.again else without_record(recipes, store)
    deadline = None if arguments.max_minutes is None else time.monotonic() + 60 * arguments.max_minutes
    execution = Execution(arguments.data_dir, arguments.records_dir, arguments.runs_dir, arguments.device, deadline)
    execution.device = execution.resolved_device()
    execution.processes = arguments.processes or side_by_side(arguments.profile)
    takes = f", {estimate_for(wanted, execution)}" if wanted else ""
    print(f"{_counted(len(recipes))} wanted, {len(wanted)} to train{takes}", flush=True)
    bar = Bar()
    execution.progress = bar
    try:
        with stop_on_signals():
            made = produce(wanted, execution)
    except Stopped as stop:
        bar.close()
        more = ", which makes again what it had finished" if arguments.again else ""
        command = shlex.join(["secondlook", *sys.argv[1:]])
        print(f"stopped; everything is saved. Go on with the same command{more}:\n  {command}")
        return 0 if stop.signal is None else 128 + stop.signal
    except (CheckpointError, WorkerError) as error:
        bar.close()
        print(f"secondlook: {error}", file=sys.stderr)
        return 2
    bar.close()
    folders = sorted({str(folder_for(r.recipe, arguments.records_dir, arguments.runs_dir)) for r in made})
    diverged = sum(r.status == "diverged" for r in made)
    print(f"{_counted(len(made))} written" + (f" to {' and '.join(folders)}" if made else "")
          + (f", {diverged} of them diverged" if diverged else ""))  # fmt: skip
    return 0


def _counted(count: int) -> str:
    return f"{count} record{'s' * (count != 1)}"


class Bar:
    """A progress bar that starts anew with every label, on a terminal or in a log."""

    def __init__(self):
        self._bar, self._label = None, None

    def __call__(self, label: str, share: float) -> None:
        from tqdm import tqdm

        if label != self._label:
            self.close()
            self._label = label
            form = "{desc}: {percentage:3.0f}% |{bar}| {elapsed} < {remaining}"
            # what a run that goes on has done already is no measure of speed, neither for the estimate nor for miniters
            every = {"mininterval": 0.5 if sys.stderr.isatty() else 10, "miniters": 0}
            self._bar = tqdm(total=1.0, initial=share, desc=label, bar_format=form, **every)
        self._bar.update(share - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar, self._label = None, None


def _execute(arguments) -> int:
    from secondlook.execute import execute

    if bool(arguments.reports) == arguments.all:
        raise ParameterError(f"name one or more reports, or pass --all: {', '.join(chapters())}")
    names = chapters() if arguments.all else arguments.reports
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
