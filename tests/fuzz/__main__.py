"""Faulty inputs of one class, made from a seed.

    python -m tests.fuzz CLASS --seed 1 --count 1000 [--work FOLDER]

Prints each distinct fault and one line of counts; exits with 1 where there was a fault: a traceback, more than 5 s of CPU time
for one input, or a file written outside the work folder. `resources` and `kills` count runs and kills instead of inputs.
"""

import argparse
import importlib
import os
import random
import shutil
import sys
from pathlib import Path

IN_PROCESS = ("recipes", "devices", "stored_files", "stored_runs", "images", "onnx_files", "not_numbers")
WHOLE_RUNS = ("resources", "kills")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=(*IN_PROCESS, *WHOLE_RUNS), metavar="CLASS", help=", ".join((*IN_PROCESS, *WHOLE_RUNS)))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--work", type=Path, default=Path("fuzz_work"), help="scratch folder; what it holds is removed")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    work = (options.work / f"{options.name}_{options.seed}").resolve()
    shutil.rmtree(work, ignore_errors=True)
    module = importlib.import_module(f"tests.fuzz.{options.name}")
    if options.name in WHOLE_RUNS:
        return int(module.main(options.seed, options.count, work))
    from tests.fuzz import harness

    outside = harness.enter(work)
    summary = harness.run(options.name, options.seed, module.cases(random.Random(options.seed), options.count, work), outside)
    return int(summary.report() > 0)


if __name__ == "__main__":
    sys.exit(main())
