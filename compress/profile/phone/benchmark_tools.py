"""The benchmark programs of LiteRT and ONNX Runtime: their arguments, and the times that they print.

`benchmark_model` prints µs, one line for the warm-up and one for the counted runs, and older releases no percentiles:

    count=25 first=187533 curr=140990 min=140071 max=195121 avg=145528 std=13583 p5=140545 median=141253 p95=187533
    Inference timings in us: Init: 92318, First inference: 235158, Warmup (avg): 211669, Inference (avg): 145528
    Memory footprint delta from the start of the tool (MB): init=54.2852 overall=73.4102

`onnxruntime_perf_test` prints, in its present and in its older form:

    Session creation time cost: 0.217932 s
    First inference time cost: 196 ms
    Total inference requests: 5                      Total iterations:1000
    Average inference time cost total: 98.96 ms      Average time cost:58.8053 ms
    Peak working set size: 271122432 bytes
    P90 Latency: 0.101519 s                          P90 Latency is 0.0599845sec

Sources: tensorflow/lite/tools/benchmark/benchmark_model.cc; onnxruntime/test/perftest (README.md, command_args_parser.cc).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

MEGABYTE = 1024 * 1024
"""What both programs call a megabyte: kilobytes of the kernel ÷ 1024."""
NUMBER = r"([\d.]+(?:e[+-]?\d+)?)"


class UnreadableOutputError(ValueError):
    """A line is missing in the output of a benchmark program."""


@dataclass(frozen=True)
class Turn:
    """One run of a benchmark program.

    Attributes:
        mean_ms: Mean time of the counted inferences.
        runs: Their number.
        percentiles: Percentiles that it printed, ms.
        load_ms: Time to load the model.
        first_ms: Time of the first inference.
        memory: Name of the quantity of its memory, and bytes; None if it printed none.
    """

    mean_ms: float
    runs: int
    percentiles: Mapping[float, float] = field(default_factory=dict)
    load_ms: float | None = None
    first_ms: float | None = None
    memory: tuple[str, float] | None = None

    @property
    def typical_ms(self) -> float:
        """Median, or the mean where there is none."""
        return self.percentiles.get(50.0, self.mean_ms)


@dataclass(frozen=True)
class TurnSettings:
    """What one run of a benchmark program does.

    Attributes:
        threads: Threads within an operator; 0 for the default of the runtime.
        seconds: Duration of the counted inferences.
        warmup_seconds: Duration of the inferences before them.
        min_runs: Fewest counted inferences.
        limit_s: Longest duration.
        rate_hz: Inferences per second; None without a pause.
        sizes: Sizes of free axes by name.
    """

    threads: int
    seconds: float
    warmup_seconds: float
    min_runs: int
    limit_s: float
    rate_hz: float | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class BenchmarkTool:
    """A benchmark program.

    Attributes:
        name: Its usual name.
        runtime: Name of its runtime, for people.
        source: Where to get it.
        command: Words of its command line, from its path, the path of a model and the settings.
        parse: Reads its output.
        keeps_rate: Whether it can start inferences at a fixed rate.
    """

    name: str
    runtime: str
    source: str
    command: Callable[[str, str, TurnSettings], list[str]]
    parse: Callable[[str], Turn]
    keeps_rate: bool


def litert_command(program: str, model: str, settings: TurnSettings) -> list[str]:
    """Words that run `benchmark_model`."""
    words = [
        program,
        f"--graph={model}",
        f"--num_threads={settings.threads or -1}",
        f"--num_runs={settings.min_runs}",
        f"--min_secs={settings.seconds:g}",
        f"--max_secs={settings.limit_s:g}",
        "--warmup_runs=1",
        f"--warmup_min_secs={settings.warmup_seconds:g}",
    ]
    return words if settings.rate_hz is None else [*words, f"--run_frequency={settings.rate_hz:g}"]


def onnxruntime_command(program: str, model: str, settings: TurnSettings) -> list[str]:
    """Words that run `onnxruntime_perf_test` with its libraries beside it; it takes whole seconds."""
    sizes = [word for axis, size in settings.sizes.items() for word in ("-f", f"{axis}:{size}")]
    path = f"LD_LIBRARY_PATH={PurePosixPath(program).parent}"
    seconds = str(max(1, math.ceil(settings.seconds)))
    return ["env", path, program, "-e", "cpu", "-t", seconds, "-x", str(settings.threads), "-s", "-I", *sizes, model]


def parse_litert(text: str) -> Turn:
    """Read the output of `benchmark_model`.

    Raises:
        UnreadableOutputError: It has no counts, or no summary.
    """
    counted = re.findall(r"count=(\d+)\b([^\n]*)", text)
    summary = re.search(rf"Inference timings in us: Init: {NUMBER}, First inference: {NUMBER},", text)
    if not counted or summary is None:
        raise UnreadableOutputError("Inference timings in us: …" if counted else "count=…")
    count, rest = counted[-1]  # the first line is that of the warm-up
    fields = {name: float(value) for name, value in re.findall(rf"\b(avg|median|p\d+|curr)={NUMBER}", rest)}
    if "first=" not in rest and "curr" in fields:  # a single time, or equal times, are printed without statistics
        fields["avg"] = fields["median"] = fields["curr"]
    mean = fields.get("avg", math.nan)
    percentiles = {50.0: fields["median"] / 1000} if "median" in fields else {}
    percentiles |= {float(name[1:]): value / 1000 for name, value in fields.items() if name[0] == "p"}
    memory = re.search(rf"Memory footprint delta from the start of the tool \(MB\): init={NUMBER} overall={NUMBER}", text)
    return Turn(
        _positive(mean / 1000, "avg=…"),
        int(count),
        percentiles,
        float(summary[1]) / 1000,
        float(summary[2]) / 1000,
        None if memory is None else ("memory_model_bytes", float(memory[2]) * MEGABYTE),
    )


def parse_onnxruntime(text: str) -> Turn:
    """Read the output of `onnxruntime_perf_test`.

    Raises:
        UnreadableOutputError: It has no mean, or no number of inferences.
    """
    mean = re.search(rf"Average (?:inference )?time cost(?: total)?: *{NUMBER} *ms", text)
    runs = re.search(r"Total (?:inference requests|iterations): *(\d+)", text)
    if mean is None or runs is None:
        raise UnreadableOutputError("Average inference time cost total: …" if mean is None else "Total inference requests: …")
    found = re.findall(rf"^P(\d+) Latency(?::| is) *{NUMBER} *s", text, re.MULTILINE)
    percentiles = {_percent(digits): float(value) * 1000 for digits, value in found}
    load = re.search(rf"Session creation time cost: *{NUMBER} *s", text)
    first = re.search(rf"First inference time cost: *{NUMBER} *ms", text)
    peak = re.search(r"Peak working set size: *(\d+) *bytes", text)
    return Turn(
        _positive(float(mean[1]), mean[0]),
        int(runs[1]),
        percentiles,
        None if load is None else float(load[1]) * 1000,
        None if first is None else float(first[1]),
        None if peak is None else ("memory_bytes", float(peak[1])),
    )


def _percent(digits: str) -> float:
    """99.9 of `999`."""
    return float(digits) if len(digits) < 3 else float(f"{digits[:2]}.{digits[2:]}")


def _positive(milliseconds: float, line: str) -> float:
    if not 0.0 < milliseconds < math.inf:
        raise UnreadableOutputError(line)
    return milliseconds


TOOLS: Mapping[str, BenchmarkTool] = {
    "litert": BenchmarkTool(
        "benchmark_model",
        "LiteRT",
        "https://ai.google.dev/edge/litert/models/measurement",
        litert_command,
        parse_litert,
        keeps_rate=True,
    ),
    "onnxruntime": BenchmarkTool(
        "onnxruntime_perf_test",
        "ONNX Runtime",
        "https://onnxruntime.ai/docs/build/android.html",
        onnxruntime_command,
        parse_onnxruntime,
        keeps_rate=False,
    ),
}
"""Benchmark program by runtime."""
