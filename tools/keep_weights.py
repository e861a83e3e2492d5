"""Puts a run's trained weights beside its record in float16, as a part of the project: the small ones alone.

    python tools/keep_weights.py vae vgg-noisy --profile reduced

The run must have left its weights in runs/weights/, and its record, the one that keeps evidence, in records/.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open

from secondlook import weights
from secondlook.recipe import PROFILES
from secondlook.record import Records
from secondlook.reports import ROOT, read


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report")
    parser.add_argument("run")
    parser.add_argument("--variant", default="as_coded")
    parser.add_argument("--profile", choices=PROFILES, default="full")
    parser.add_argument("--records-dir", type=Path, default=ROOT / "records")
    parser.add_argument("--runs-dir", type=Path, default=ROOT / "runs")
    told = parser.parse_args()
    recipes = read(told.report).recipes(told.run, told.variant, told.profile)
    for record in Records(told.records_dir).find([r for r in recipes if r.keep == "evidence"]):
        source = weights.runs_path(told.runs_dir, record.id)
        trained = weights.of_record(record, told.runs_dir)  # verified against the record
        with safe_open(source, framework="pt") as file:
            about = json.loads(file.metadata()["secondlook"])
        shelf = record.shelf(told.records_dir)
        path = weights.save(shelf.with_name(f"{shelf.name}.safetensors"), trained.model, about, torch.float16)
        size = path.stat().st_size
        if size > weights.SMALL:
            path.unlink()
            sys.exit(f"{source}: {size} bytes in float16 are more than {weights.SMALL}; it stays in runs/")
        print(f"{path}: {size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
