"""Chapters through papermill, strictly checked: what `secondlook execute` does.

papermill only warns of a parameter that the notebook does not have, and calls every cell of a killed kernel completed:
so names, types and values are checked before any work, and the exit code says how each notebook ended.
"""

import ast
import json
import logging
import signal
import sys
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path

from secondlook import parameters, reports
from secondlook.checks import RecipeError, nearest
from secondlook.files import check_writable, lock
from secondlook.parameters import ParameterError, check_values, parse, seeds
from secondlook.recipe import Recipe
from secondlook.record import Records
from secondlook.runs import Execution, unique, without_record

GRACE = 60.0  # seconds a kernel has to save what it trains: half of them after SIGINT, half after SIGTERM


def execute(names: list[str], assignments=(), out_dir=None, timeout: int | None = None, root=None) -> int:
    """0 where the notebooks of all the reports ran whole, 1 where one did not, 130 or 143 where a signal stopped them.

    `assignments` are texts `name=value`; `timeout` is in seconds a cell, None waits for ever. A notebook runs in the
    caller's folder, as under papermill, into OUT_DIR/REPORT-PROFILE.ipynb (runs/execute by default); other parameters
    than the profile put their digest in the name. Raises ParameterError, before anything starts, for an unknown report,
    a bad parameter or timeout, and an output that another process is writing.
    """
    if timeout is not None and timeout <= 0:
        raise ParameterError(f"the timeout of a cell must be above 0 seconds, not {timeout}")
    folder = Path(out_dir or (root or reports.ROOT) / "runs" / "execute").absolute()
    jobs = {name: _job(name, list(assignments), folder, root) for name in names}
    ended = {}
    with ExitStack() as locks:
        check_writable(folder, "--out-dir")
        for _, _, output in jobs.values():
            locks.enter_context(_alone(output))
        with _signals() as came:
            for name, (notebook, values, output) in jobs.items():
                ended[name] = _run(name, notebook, values, output, timeout)
                told = f"{name}: {ended[name] or 'finished'} → {output}"
                print(told, file=sys.stderr if ended[name] else sys.stdout, flush=True)
                if came:
                    return 128 + came[0]
    return int(any(ended.values()))


def trains(names: list[str], assignments=(), root=None) -> tuple[list[Recipe], Execution]:
    """The recipes without a record that the notebooks of the reports train, and how. Raises as `execute`."""
    from secondlook.chapter import asked, execution_for

    found, execution = [], None
    for name in names:
        _, values, _ = _job(name, list(assignments), Path(), root)
        values = {"seeds": "", **declared(_notebook(name, root)), **values}
        execution = execution_for(*(values.get(k, "") for k in ("profile", "data_dir", "records_dir", "device")))
        if values.get("train") == "never":
            continue
        report = reports.read(name, root)
        changed = parameters.known(report, values)
        theirs, own = asked(report, values["profile"], values["variant"], values["seeds"], changed)
        store = Records(execution.records_dir, execution.runs_dir)
        found += theirs + own if values.get("train") == "always" else without_record(theirs + own, store)
    return unique(found), execution


def declared(notebook: Path) -> dict:
    """The defaults of a notebook's parameters by name. Raises ParameterError for what is no flat, typed scalar."""
    from papermill import inspect_notebook

    try:
        found = inspect_notebook(_literal(notebook))
        defaults = {name: ast.literal_eval(told["default"]) for name, told in found.items()}
    except Exception as error:  # of JSON, the notebook's format, its kernel or its first cell
        raise ParameterError(f"{notebook}: its parameters cannot be read ({error}); restore or re-save it") from None
    for name, default in defaults.items():
        if type(default) not in (str, int, float, bool):
            raise ParameterError(f"{notebook}: {name} must be text, a number, true or false, not {default!r}")
    return defaults


def _notebook(name: str, root: Path | None) -> Path:
    return reports.home(root) / "notebooks" / f"{name}.ipynb"


def _job(name: str, assignments: list[str], folder: Path, root: Path | None) -> tuple[Path, dict, Path]:
    """Notebook, checked values and output, or a ParameterError."""
    if name not in (known := reports.chapters(root)):
        raise ParameterError(f"there is no notebook of a report {name!r}{nearest(name, known)}")
    notebook = _notebook(name, root)
    defaults = declared(notebook)
    try:
        values = parse(assignments, defaults)
        everything = {**defaults, **values}
        check_values(everything, name, root)
        _check_settings(reports.read(name, root), everything)
    except (ParameterError, RecipeError) as error:
        raise ParameterError(f"{name}: {error}") from None
    others = json.dumps({k: v for k, v in values.items() if k != "profile"}, sort_keys=True)
    digest = "" if others == "{}" else sha256(others.encode()).hexdigest()[:6]
    words = (name, everything.get("profile", ""), digest)
    return notebook, values, folder / f"{'-'.join(word for word in words if word)}.ipynb"


def _check_settings(report: reports.Report, values: dict) -> None:
    """Raises RecipeError where the chapter's cells would refuse the reader's own settings or the device."""
    if changed := parameters.known(report, values):
        parameters.customised(report, values["variant"], values["profile"], seeds(values.get("seeds", "")), changed)
    if values.get("device", "").startswith("cuda"):
        Execution(device=values["device"]).resolved_device()


def _run(name: str, notebook: Path, values: dict, output: Path, timeout: int | None) -> str:
    """What ended the notebook before its end; "" where it ran whole."""
    from papermill import PapermillExecutionError, execute_notebook
    from traitlets.config import Config

    options = {"progress_bar": {"desc": name, "disable": None}, "execution_timeout": timeout,
               "config": Config(KernelManager={"shutdown_wait_time": GRACE})}  # fmt: skip
    try:
        executed = execute_notebook(_literal(notebook), _literal(output), values, **options)
    except PapermillExecutionError as error:
        return f"{error.ename} in cell [{error.exec_count}]: {error.evalue.strip()}"
    except (Exception, KeyboardInterrupt) as error:  # whatever else ends papermill, its kernel or a write
        told = " ".join(str(error).split("Here is a preview")[0].split())
        return f"{type(error).__name__}: {told}"
    return "the notebook ended itself before its last cell" if executed.metadata.papermill.exception else ""


def _literal(path: Path) -> str:
    """A path in which papermill, which formats it, finds no fields."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _alone(output: Path):
    """Held while the output is written. Raises ParameterError where another process holds it."""
    try:
        return lock(output.with_name(f".{output.name}.lock"), 0)
    except TimeoutError:
        raise ParameterError(f"another process is writing {output}; wait for it, or choose another --out-dir") from None


@contextmanager
def _signals():
    """The signals that came. SIGTERM and SIGINT end the kernel, which saves first; a second one acts at once."""
    came: list[int] = []

    def stop(number, frame):
        came.append(number)
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        logging.getLogger("asyncio").disabled = True  # which would tell of the cell for whose end nobody waits
        raise KeyboardInterrupt(f"stopped by {signal.Signals(number).name} and saved; the same command goes on")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
