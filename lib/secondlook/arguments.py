"""What the command line may be given, and what it says of it."""

import argparse
import math
from contextlib import suppress
from pathlib import Path

from secondlook import __version__, parameters
from secondlook.parameters import ParameterError
from secondlook.recipe import PROFILES, VARIANTS
from secondlook.reports import ROOT
from secondlook.training.machine import cores

PROFILE = (
    "full (the report's own protocol, the default), reduced (all real images, hours on two cores), quick (fewer "
    "images, minutes) or smoke (stand-ins, seconds)"
)
DATA_DIR = "where the data sets lie (default: the project's data/)"
RECORDS_DIR = "where records of real data lie (default: the project's records/)"


def parser() -> argparse.ArgumentParser:
    """Of the whole command line; the command's name is in `command`."""
    found = argparse.ArgumentParser(prog="secondlook", description="Five reports on image classification, run again.")
    found.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    with suppress(ImportError):  # an environment from before it was asked for goes on without
        import shtab

        shtab.add_argument_to(found, "--print-completion", help="what a shell needs to complete these commands")
    commands = found.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    for name, (says, add_to) in COMMANDS.items():
        add_to(commands.add_parser(name, help=says, description=says[0].upper() + says[1:] + "."))
    return found


def _list(own: argparse.ArgumentParser) -> None:
    own.add_argument("report", nargs="?", help="only this report")
    own.add_argument("--missing", action="store_true", help="only what has no record")
    own.add_argument("--profile", choices=PROFILES, default="full", help=PROFILE)
    _json_and_folders(own)


def _data(own: argparse.ArgumentParser) -> None:
    own.add_argument("action", choices=("fetch", "check", "list"))
    own.add_argument("names", nargs="*", help="cifar10, cifar100, mnist; all when none is named")
    own.add_argument("--data-dir", type=Path, default=ROOT / "data", help=DATA_DIR)


def _train(own: argparse.ArgumentParser) -> None:
    own.add_argument("reports", nargs="*", metavar="report", help="names, as `secondlook list` shows them")
    own.add_argument("--all", action="store_true", help="every report")
    own.add_argument("--run", help="only this run (a run with a grid stands for all its points)")
    own.add_argument("--variant", choices=VARIANTS[:-1], help="only this variant")
    own.add_argument("--profile", choices=PROFILES, default="full", help=PROFILE)
    own.add_argument("--seeds", type=seeds, help="for instance 0-5 or 0,2,4; the report's own when not given")
    _how(own)
    own.add_argument("--dry-run", action="store_true", help="say what there is to train and what it costs, no more")
    own.add_argument("--again", action="store_true", help="also what has a record already")
    _json_and_folders(own, with_json=False)


def _how(own: argparse.ArgumentParser) -> None:
    """Where and how long to train."""
    own.add_argument("--max-minutes", type=minutes, help="save and stop after this long; the same command goes on")
    own.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 …")
    told = "runs at a time on a processor, a thread each; one a core where memory allows when not given"
    own.add_argument("--processes", type=count, help=told)
    _cluster(own)
    own.add_argument("--data-dir", type=folder, default=ROOT / "data", help=DATA_DIR)


def _cluster(own: argparse.ArgumentParser) -> None:
    told = "train on the workers of this Dask scheduler: its address, or the file that it wrote"
    own.add_argument("--cluster", default="", metavar="ADDRESS", help=told)
    own.add_argument("--send-data", action="store_true", help="with --cluster: send workers the data sets they lack")


def _tune(own: argparse.ArgumentParser) -> None:
    own.add_argument("model", help="REPORT/RUN, for instance optimizers/initial-adam")
    own.add_argument("--variant", choices=VARIANTS[:-1], help="only this variant")
    own.add_argument("--profile", choices=PROFILES, default="quick", help=PROFILE.replace(", the default", ""))
    told = "a parameter of the chapter's first cell; may be repeated (default: learning_rate and weight_decay)"
    own.add_argument("--over", action="append", default=[], metavar="PARAMETER", help=told)
    own.add_argument("--trials", type=trials, default=20, help="how many the study shall have (default 20)")
    told = "the study's SQLite file (default: studies/REPORT-RUN.db in the folder of runs)"
    own.add_argument("--study", type=Path, metavar="FILE", help=told)
    _how(own)
    _json_and_folders(own)


def _execute(own: argparse.ArgumentParser) -> None:
    own.add_argument("reports", nargs="*", help="names of chapters")
    own.add_argument("--all", action="store_true", help="every chapter, one after the other")
    own.add_argument("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE",
                         help="a parameter of the notebook's first cell, for instance profile=smoke")  # fmt: skip
    own.add_argument("--out-dir", type=Path, default=ROOT / "runs" / "execute",
                         help="where the executed notebooks go (default: the project's runs/execute/)")  # fmt: skip
    _cluster(own)
    own.add_argument("--timeout", type=int, default=1800, help="seconds a cell may take (default 1800)")


def _check(own: argparse.ArgumentParser) -> None:
    own.add_argument("report", nargs="?", help="only this report")
    _json_and_folders(own)


def _predict(own: argparse.ArgumentParser) -> None:
    own.add_argument("model", help="REPORT/RUN, for instance vgg/vgg16")
    own.add_argument("image", type=Path, help="a PNG, JPEG or WebP file; a digit on white or on black")
    own.add_argument("--variant", choices=VARIANTS[:-1], help="only this variant")
    own.add_argument("--out", type=Path, help="where the image under its Grad-CAM goes (default: IMAGE.cam.png)")
    _json_and_folders(own)


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


def trials(text: str) -> int:
    """A number of trials, from 1 to 10,000. Raises ArgumentTypeError for anything else."""
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= 10_000):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of trials from 1 to 10,000; write for instance 20")
    return int(text)


def count(text: str) -> int:
    """A number of processes, from 1 to four a core. Raises ArgumentTypeError for anything else."""
    most = 4 * cores()
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= most and len(text) < 9):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of processes from 1 to {most}: {cores()} cores are here"
        )
    return int(text)


COMMANDS = {
    "list": ("reports, runs, and which records are there", _list),
    "data": ("the data sets: fetch, check or list them", _data),
    "train": ("train what has no record yet; stops and resumes cleanly", _train),
    "tune": ("look for better settings of a run, on held-out images", _tune),
    "execute": ("run chapters through papermill, strictly checked", _execute),
    "check": ("every claim and its verdict", _check),
    "predict": ("what a trained model says of an image of your own", _predict),
}
