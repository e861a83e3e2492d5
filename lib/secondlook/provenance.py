"""Where a record came from: commit, data, versions, device, precision, time."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from secondlook.reports import ROOT

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn")


def provenance(data_digest: str, started: datetime, seconds: float, **more) -> dict:
    """Plain facts about the run that ends now. `more` holds what only the run knows: examples, group, resumed_from."""
    import torch

    cudnn = torch.backends.cudnn
    return {
        **commit(),
        "data_digest": data_digest,
        "versions": {"python": platform.python_version(), **versions()},
        "device": device_name(more.pop("device", "cpu")),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "tf32": {"matmul": torch.backends.cuda.matmul.allow_tf32, "cudnn": cudnn.allow_tf32},
        "cudnn_benchmark": cudnn.benchmark,
        "started": started.astimezone(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        **more,
    }


def commit() -> dict:
    """The project's commit and whether the library or the reports differ from it; None outside a checkout.

    `SECONDLOOK_COMMIT` names the commit where only the tree was carried, without its history.
    """
    told = os.environ.get("SECONDLOOK_COMMIT")
    if told:
        return {"commit": told.removesuffix("+"), "dirty": told.endswith("+")}
    try:
        head = _git("rev-parse", "HEAD")
        return {"commit": head, "dirty": bool(_git("status", "--porcelain", "--", "lib", "reports"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


@cache
def versions() -> dict[str, str]:
    """Of the packages that a result depends on, as installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def device_name(device: str) -> str:
    """`cuda (NVIDIA …)` or `cpu (model name, cores)`."""
    import torch

    if str(device).startswith("cuda"):
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"cpu ({_cpu_model()}, {os.cpu_count()} cores)"


def _cpu_model() -> str:
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout.strip()
