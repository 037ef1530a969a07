"""Start-up time of commands that import no torch, interleaved with an interpreter that does nothing.

    python tests/benchmarks/bench_startup.py [--repeats 15]

Prints a Markdown table. Goals on an idle machine: `--help` ≤ 0.5 s, `validate` ≤ 1 s.
"""

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass (baseline)": ["-c", "pass"],
    "compress --help": ["-m", "compress", "--help"],
    "compress validate resnet50_to_mobilenet": ["-m", "compress", "validate", "resnet50_to_mobilenet"],
}


def seconds(arguments: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats):
        for name, arguments in COMMANDS.items():
            times[name].append(seconds(arguments))
    baseline = statistics.median(times["python -c pass (baseline)"])
    print("| command | median s | fastest s | × baseline |\n|---|---:|---:|---:|")
    for name, found in times.items():
        median = statistics.median(found)
        print(f"| `{name}` | {median:.3f} | {min(found):.3f} | {median / baseline:.1f} |")


if __name__ == "__main__":
    main()
