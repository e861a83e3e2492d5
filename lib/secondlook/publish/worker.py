"""The papermill side of `secondlook.publish.runner`: one process, one notebook.

Reads a task as one line of JSON from its standard input, tells what happens as lines of JSON on the file descriptor it
was given, and when its standard input ends, because the runner wants it to stop or is dead, ends the kernel and itself.
"""

import json
import os
import re
import signal
import sys
import time
import traceback
from contextlib import suppress
from threading import Lock, Thread

GRACE = 10.0  # seconds a kernel has to save after SIGTERM
SAVE_EVERY = 5.0  # seconds between two writings of the output, at the end of a cell


class Worker:
    """What the process knows: where to tell it, the kernel's process, whether to stop, and the notebook so far."""

    def __init__(self, events: int):
        os.set_inheritable(events, False)  # the end of this process must be the end of the pipe, kernel or no kernel
        self.events, self.kernel, self.stopping, self.lock = events, None, False, Lock()
        self.notebook, self.output, self.saved = None, None, 0.0

    def tell(self, **event) -> None:
        with self.lock:
            os.write(self.events, json.dumps(event).encode() + b"\n")

    def run(self) -> None:
        task = json.loads(sys.stdin.buffer.readline())
        Thread(target=self._until_told_to_stop, daemon=True).start()
        try:
            self._execute(task)
        except BaseException as error:  # whatever ends papermill is what the status file must say
            self.tell(error=described(error))
        self.tell(ended=True)

    def _execute(self, task: dict) -> None:
        import papermill
        from jupyter_client import AsyncKernelManager

        worker, self.output = self, task["output_path"]

        class Manager(AsyncKernelManager):
            async def start_kernel(self, **options):
                await super().start_kernel(**options)
                worker.kernel = self.provisioner.pid
                worker.tell(kernel=worker.kernel)
                if worker.stopping:
                    kill(worker.kernel, signal.SIGKILL)

        try:
            papermill.execute_notebook(
                **task,
                progress_bar=False,
                request_save_on_cell_execute=False,  # it writes all outputs twice a cell: a third of a page's time
                kernel_manager_class=Manager,
                on_notebook_start=self._notebook_starts,
                on_cell_execute=self._cell_starts,
                on_cell_executed=self._cell_ends,
            )
        except papermill.PapermillExecutionError:
            raise  # it has written the output, with a mark where it failed
        except BaseException:
            self._save()
            raise

    def _notebook_starts(self, notebook) -> None:
        self.notebook, self.numbers = notebook, {}
        self._save()
        for index, cell in enumerate(notebook.cells):
            skipped = "skip-execution" in cell.metadata.get("tags", [])
            if cell.cell_type == "code" and cell.source.strip() and not skipped:
                self.numbers[index] = len(self.numbers) + 1
        self.tell(cells={"total": len(self.numbers)})

    def _cell_starts(self, cell, cell_index) -> None:
        self.tell(cell=self.numbers[cell_index])

    def _cell_ends(self, cell, cell_index, execute_reply) -> None:
        if execute_reply["content"]["status"] == "ok":
            self.tell(cells={"done": self.numbers[cell_index]})
        if time.monotonic() - self.saved >= SAVE_EVERY:
            self._save()

    def _save(self) -> None:
        from papermill.iorw import write_ipynb

        if self.notebook is not None:
            write_ipynb(self.notebook, self.output)
        self.saved = time.monotonic()

    def _until_told_to_stop(self) -> None:
        # Unbuffered: a thread inside a buffered read would hold its lock when the interpreter ends.
        while os.read(0, 4096):
            pass
        self.stopping = True
        kill(self.kernel, signal.SIGTERM)
        time.sleep(GRACE)  # when the kernel is gone, papermill writes its output and this process ends
        kill(self.kernel, signal.SIGKILL)
        time.sleep(3)
        os._exit(1)


def described(error: BaseException) -> dict:
    """An error as {type, message, traceback}: the notebook's own where a cell raised, without terminal colours."""
    if type(error).__name__ == "PapermillExecutionError":
        kind, message, lines = error.ename, error.evalue, list(error.traceback)
    else:
        kind, message, lines = type(error).__name__, str(error), traceback.format_exception(error)
    return {"type": kind, "message": plain(message), "traceback": plain("\n".join(lines))}


def plain(text: str) -> str:
    """The text without the control sequences of terminals."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def kill(leader: int | None, signum: int) -> None:
    """Sends a signal to a process and all it started in its group; nothing where it is gone."""
    if leader:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signum)


if __name__ == "__main__":
    Worker(int(sys.argv[1])).run()
