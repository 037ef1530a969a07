"""Load a model, run it and print its resident memory at each step; `memory.peak` runs this file in a new process.

    python -P probe.py MODEL THREADS RUNS '{"input": [[1, 3, 64, 64], "float32", 0]}' CPUExecutionProvider

The shapes may be a list of such dictionaries, which run one after the other. The last argument is an execution provider of
ONNX Runtime, `openvino`, or `runner:` and a runtime of the registry: only then the file imports this package.

Prints the fields of `memory.Footprint` as JSON; times are those of the first shapes. `arena` and `arena_used` come from a
second session with profiling, for one dictionary of shapes; they are null where the runtime does not report them.
"""

import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnxruntime

RUNNER = "runner:"
STATUS = Path("/proc/self/status")


def resident(key: str) -> int:
    """VmRSS or VmHWM of this process in bytes; without /proc, its peak by getrusage."""
    if STATUS.is_file():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith(key))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def options(threads: int) -> "onnxruntime.SessionOptions":
    """Session options of the timed sessions."""
    import onnxruntime

    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = threads
    session_options.inter_op_num_threads = 1
    session_options.log_severity_level = 3
    return session_options


def milliseconds(start: int) -> float:
    """Milliseconds since `start`, a time in nanoseconds."""
    return (time.perf_counter_ns() - start) / 1e6


def arena(model: str, threads: int, feeds: dict[str, np.ndarray], provider: str) -> dict[str, int | None]:
    """`arena` and `arena_used`: the largest values that the profiler recorded over all kernels."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        settings = options(threads)
        settings.enable_profiling = True
        settings.profile_file_prefix = str(Path(folder) / "arena")
        session = onnxruntime.InferenceSession(model, settings, providers=[provider])
        for _ in range(2):
            session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text())
    arena_events = [event["args"] for event in events if "mem_arena_held" in event.get("args", {})]
    reserved = max((int(args["mem_arena_held"]) for args in arena_events), default=None)
    used = max((int(args.get("mem_in_use_peak", 0)) for args in arena_events), default=None)
    return {"arena": reserved, "arena_used": used}


def open_model(model: str, threads: int, provider: str) -> Callable[[dict[str, np.ndarray]], object]:
    """Load a model and return a function that runs it once."""
    if provider == "openvino":
        import openvino

        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": str(threads)}
        request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
        return lambda feeds: request.infer(feeds, share_inputs=True)
    if provider.startswith(RUNNER):
        from compress.backends.open_runner import open_runner

        return open_runner(provider.removeprefix(RUNNER), Path(model), threads=threads).__enter__().run
    import onnxruntime

    session = onnxruntime.InferenceSession(model, options(threads), providers=[provider])
    return lambda feeds: session.run(None, feeds)


def import_runtime(provider: str) -> None:
    """Import what runs the model, so that its memory counts as before loading."""
    if provider.startswith(RUNNER):
        from compress.backends import open_runner  # noqa: F401  # its import is no part of loading a model
        from compress.core.registry import lookup

        lookup("runner", provider.removeprefix(RUNNER)).load().import_runtime()
        return
    __import__("openvino" if provider == "openvino" else "onnxruntime")


def filled(shape: list[int], kind: str, value: int = 0) -> np.ndarray:
    """An input array with one value everywhere."""
    return np.full(shape, value, kind) if value else np.zeros(shape, kind)


def main() -> None:
    """Measure and print."""
    model, threads, runs, shapes, provider = (
        sys.argv[1],
        int(sys.argv[2]),
        int(sys.argv[3]),
        json.loads(sys.argv[4]),
        sys.argv[5],
    )
    import_runtime(provider)
    footprint: dict[str, float | None] = {"before": resident("VmRSS")}
    start = time.perf_counter_ns()
    run = open_model(model, threads, provider)
    footprint |= {"load_ms": milliseconds(start), "loaded": resident("VmRSS")}
    several = shapes if isinstance(shapes, list) else [shapes]
    peaks = []
    for each in several:
        feeds = {name: filled(*entry) for name, entry in each.items()}
        times = []
        for _ in range(max(2, runs)):
            start = time.perf_counter_ns()
            run(feeds)
            times.append(milliseconds(start))
            footprint.setdefault("first", resident("VmRSS"))
        footprint.setdefault("first_ms", times[0])
        footprint.setdefault("steady_ms", statistics.median(times[1:]))
        peaks.append(resident("VmHWM"))
    footprint |= {"steady": resident("VmRSS"), "peak": peaks[-1]}
    with_arena = provider != "openvino" and not provider.startswith(RUNNER) and isinstance(shapes, dict)
    print(json.dumps({**footprint, "peaks": peaks} | (arena(model, threads, feeds, provider) if with_arena else {})))


if __name__ == "__main__":
    main()
