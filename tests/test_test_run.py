"""`make test` ends red, and soon, where a worker crashes or hangs."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ENDS = {
    "crashes": "os.kill(os.getpid(), signal.SIGSEGV)",
    "hangs": "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM}); time.sleep(600)",
}


def command(folder: Path) -> list[str]:
    """What `make test` runs, on the tests of a folder."""
    make = ["make", "--no-print-directory", "--dry-run", "--old-file", ".venv/.ready", "test", f"TESTS={folder}"]
    printed = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    words = shlex.split(printed.replace("\\\n", ""))
    return [sys.executable, *words[words.index("-m") :]]


@pytest.mark.skipif(not shutil.which("make"), reason="make is not here")
@pytest.mark.parametrize(("end", "limit"), [("crashes", "10"), ("hangs", "0.2")])
def test_a_worker_that_crashes_or_hangs_ends_the_run_red(tmp_path, end, limit):
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    begin = "import os, signal, time\n"
    (tmp_path / "test_bad.py").write_text(f"{begin}def test_a():\n    {ENDS[end]}\ndef test_b():\n    {ENDS[end]}\n")
    (tmp_path / "test_good.py").write_text("def test_good(): pass\n")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    environment["SECONDLOOK_TEST_MINUTES"] = limit
    ended = subprocess.run(
        command(tmp_path), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert ("crashed while running" if end == "crashes" else "Timeout (0:00:12)!") in ended.stdout + ended.stderr
