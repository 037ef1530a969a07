"""Trustworthiness of the profiler's latencies: compared with an independent loop, and repeated.

    python tests/benchmarks/bench_measurement.py --cache /tmp/measurement

1. The profiler's p50 and that of an independent loop around ONNX Runtime's C-level `run` (the bound
`InferenceSession._sess.run`,
   with its own session, clock readings and median), interleaved in one session, on five networks. Goal: within 3 %.
2. Whole profiles of one artifact, repeated. Goal: the intervals of p50 overlap in 19 of 20 successive pairs. Pairs that are
further
   apart are counted as well; they show how much the machine itself changes within a minute.

Random weights, one thread, batch 1. The networks are exported into the cache first. Prints Markdown tables; exits with 1 if a
goal is missed. Takes about 8 minutes; `--quick` takes seconds and only checks that the script runs.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import onnxruntime

from compress.backends.export_onnx import export_onnx
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.backends.runner_protocol import Array, Feeds
from compress.core.network_spec import image_spec
from compress.core.record import Quantity
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.profile.latency.interleave import TimingPlan
from compress.profile.latency.timing import Timing, measure, time_runners

NETWORKS = {"mobilenet_v2": 96, "resnet18": 96, "squeezenet1_1": 96, "shufflenet_v2_x1_0": 96, "regnet_y_400mf": 96}
"""By name: side of the input in pixels."""
P50_GOAL, PAIR_GOAL = 0.03, 19 / 20
WARM = 0.1
"""Part of the loop's own readings that is dropped at the start."""


class Loop:
    """ONNX Runtime with nothing of the profiler in between: each call reads the clock itself and keeps what it read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.nanoseconds: list[int] = []
        self._raw: Any = None
        self._outputs: list[str] = []

    def __enter__(self) -> Self:
        """Load."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        self._raw = session._sess
        self._outputs = [output.name for output in session.get_outputs()]
        return self

    def reload(self) -> None:
        """Load again, when the profiler does: where a network lies in memory can cost it several percent."""
        self.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """Drop the session."""
        self._raw = None

    def run(self, feeds: Feeds) -> list[Array]:
        """One reading."""
        start = time.perf_counter_ns()
        outputs: list[Array] = self._raw.run(self._outputs, feeds, None)
        self.nanoseconds.append(time.perf_counter_ns() - start)
        return outputs

    def describe(self) -> dict[str, str]:
        """What the profiler asks of everything that it times."""
        return {"runtime": f"ONNX Runtime {onnxruntime.__version__}", "threads": "1"}

    @property
    def p50_ms(self) -> float:
        """Median of the readings after the first tenth, in milliseconds."""
        return statistics.median(self.nanoseconds[int(WARM * len(self.nanoseconds)) :]) / 1e6


@dataclass(frozen=True)
class Beside:
    """One session: the profiler's Timing, and the median of the loop beside it."""

    ours: Timing
    loop_ms: float

    @property
    def difference(self) -> float:
        """Signed, as a fraction of the loop's."""
        return (self.ours.p50.value or float("nan")) / self.loop_ms - 1


def exported(cache: Path, names: list[str]) -> dict[str, tuple[Path, Array]]:
    """ONNX file and one input by name; files missing from the cache are made."""
    found = {}
    for name in names:
        side = NETWORKS[name]
        spec = image_spec(
            channels=3, height=side, width=side, mean=(0.5,) * 3, std=(0.25,) * 3, classes=tuple(map(str, range(10)))
        )  # fmt: skip
        path = cache / f"{name}_{side}.onnx"
        if not path.exists():
            module = build_model(ModelSettings(source=f"torchvision:{name}"), spec, seed=0, base=cache).module
            export_onnx(module, spec, path)
        found[name] = (path, np.random.default_rng(0).normal(size=(1, *spec.shape)).astype(np.float32))
    return found


def beside(path: Path, inputs: Array, seconds: float) -> Beside:
    """The profiler and the loop on one file, in turns."""
    with OnnxRuntimeRunner(path) as runner, Loop(path) as loop:
        feeds = {"input": inputs}
        timings = time_runners(
            {"ours": runner, "loop": loop},
            {"ours": feeds, "loop": feeds},
            TimingPlan.of(seconds, min_runs=30),
            batch=1,
        )
        return Beside(timings["ours"], loop.p50_ms)


def repeated(path: Path, inputs: Array, seconds: float, repeats: int) -> list[Timing]:
    """Whole profiles of one file, each in a session that is loaded anew."""
    return [measure({"artifact": path}, {"input": inputs}, TimingPlan(seconds, 0.3, 30))["artifact"] for _ in range(repeats)]


def overlap(first: Quantity, second: Quantity) -> bool:
    """Whether two intervals have a point in common."""
    ends = (first.low, first.high, second.low, second.high)
    low_a, high_a, low_b, high_b = (float("nan") if end is None else end for end in ends)
    return low_a <= high_b and low_b <= high_a


def against_the_loop(files: dict[str, tuple[Path, Array]], seconds: float, sessions: int) -> bool:
    """First table; whether every network is within the goal."""
    print(f"\n### p50 against an independent loop, {sessions} sessions of {seconds:g} s each\n")
    print("| network | profiler p50 | loop p50 | difference, median of the sessions | least to most | share of a processor |")
    print("|---|---|---|---|---|---|")
    met = []
    for name, (path, inputs) in files.items():
        found = [beside(path, inputs, seconds) for _ in range(sessions)]
        differences = sorted(each.difference for each in found)
        middle = statistics.median(differences)
        typical = min(found, key=lambda each: abs(each.difference - middle))
        p50 = typical.ours.p50
        met.append(abs(middle) <= P50_GOAL)
        print(
            f"| {name} | {p50.value:.3f} ms ({p50.low:.3f}–{p50.high:.3f}) | {typical.loop_ms:.3f} ms | {middle:+.2%} "
            f"| {differences[0]:+.2%} to {differences[-1]:+.2%} | {min(each.ours.processor_share for each in found):.0%} |",
            flush=True,
        )
    print(f"\nWithin {P50_GOAL:.0%}: {sum(met)} of {len(met)} networks.")
    return all(met)


def against_itself(files: dict[str, tuple[Path, Array]], seconds: float, repeats: int) -> bool:
    """Second table; whether enough pairs agree."""
    print(f"\n### Repeated profiles of one artifact, {repeats} of {seconds:g} s each\n")
    print("| network | p50, least to most | half width of the interval, median | successive pairs agree | all pairs agree |")
    print("|---|---|---|---|---|")
    next_to, every = [], []
    for name, (path, inputs) in files.items():
        found = [each.p50 for each in repeated(path, inputs, seconds, repeats)]
        pairs = [overlap(a, b) for a, b in itertools.combinations(found, 2)]
        successive = [overlap(a, b) for a, b in itertools.pairwise(found)]
        widths = [((each.high or 0) - (each.low or 0)) / 2 / (each.value or 1) for each in found]
        values = [each.value or 0.0 for each in found]
        next_to += successive
        every += pairs
        print(
            f"| {name} | {min(values):.3f}–{max(values):.3f} ms | ±{statistics.median(widths):.2%} "
            f"| {sum(successive)} of {len(successive)} | {sum(pairs)} of {len(pairs)} |",
            flush=True,
        )
    share = sum(next_to) / len(next_to)
    print(f"\nSuccessive pairs: {sum(next_to)} of {len(next_to)} agree ({share:.1%}); all pairs: {sum(every)} of {len(every)}.")
    return share >= PAIR_GOAL


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, help="where ONNX files are kept; a temporary folder by default")
    parser.add_argument("--seconds", type=float, default=2.0, help="counted time of each file in a session")
    parser.add_argument("--sessions", type=int, default=5, help="sessions beside the loop, of each network")
    parser.add_argument("--repeats", type=int, default=12, help="profiles of each network")
    parser.add_argument("--quick", action="store_true", help="two networks, a fraction of the time; the figures mean nothing")
    asked = parser.parse_args()
    names = list(NETWORKS)[: 2 if asked.quick else None]
    seconds, sessions, repeats = (0.2, 2, 4) if asked.quick else (asked.seconds, asked.sessions, asked.repeats)
    with tempfile.TemporaryDirectory() as scratch:
        cache = asked.cache or Path(scratch)
        cache.mkdir(parents=True, exist_ok=True)
        files = exported(cache, names)
        results = [against_the_loop(files, seconds, sessions), against_itself(files, seconds, repeats)]
    if not all(results) and not asked.quick:
        sys.exit(1)


if __name__ == "__main__":
    main()
