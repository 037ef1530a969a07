"""Measure networks that continue texts on this machine, in turns.

    time to first token   reading a prompt of C tokens, with the choice of the likeliest one
    prefill               C / that time
    decode                further tokens after C, one by one

An encoder-decoder reads a source of C tokens in its encoder, and the start of the response: the time to first token. Further
tokens follow a response of C tokens, so that they read C keys and values of the source and C of the response.

A mean over prompt and further tokens says nothing, since a prompt is limited by products and a token by memory traffic.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from compress.backends.decoder.open_writer import Writer, open_prepared, prepare
from compress.backends.runner_protocol import pinned
from compress.core.entries import Row
from compress.core.language import gettext
from compress.core.progress import Reporter
from compress.core.record import Metrics, Quantity
from compress.core.statistics import percentile_interval

STEPS, ROUNDS, LOADS = 16, 7, 3
"""Further tokens and prompts of each context, of which the first is not counted, and loads of each file."""
PROBE, TIMEOUT_S = Path(__file__).with_name("probe.py"), 600.0
UNITS = {
    "decode_tokens_per_s": "1/s",
    "time_to_first_token_ms": "ms",
    "prefill_tokens_per_s": "1/s",
    "token_p50_ms": "ms",
    "token_p95_ms": "ms",
    "load_ms": "ms",
    "size_bytes": "bytes",
    "memory_bytes": "bytes",
    "key_value_bytes": "bytes",
}
"""Quantities of a row with their units, in the order of the table."""


@dataclass(frozen=True)
class GenerationPlan:
    """What to measure.

    Attributes:
        contexts: Tokens of a prompt, increasing.
        threads: Threads within an operator.
        affinity: Processors to pin to; empty pins none.
        rounds: Prompts of each context and file.
        steps: Further tokens after each prompt.
    """

    contexts: tuple[int, ...]
    threads: int = 1
    affinity: tuple[int, ...] = ()
    rounds: int = ROUNDS
    steps: int = STEPS


@dataclass
class _ContextTimes:
    """Times of one file and context, s."""

    prompts: list[float] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)


def measure_generation(files: Mapping[str, Path], plan: GenerationPlan, *, device: str, reporter: Reporter) -> tuple[Row, ...]:
    """A row for each context and file: `subject`, `device`, `context`, and the quantities of `UNITS`.

    Args:
        files: ONNX files by subject, with past keys and values, or with the layout of a decoder.
        plan: What to measure.
        device: Name of the device profile, for the rows.
        reporter: Shows a progress bar.

    Raises:
        ConversionError: A file is no decoder, or does not load.
        DeviceError: A processor to pin to does not exist.
    """
    with TemporaryDirectory() as folder, pinned(plan.affinity), ExitStack() as stack:
        prepared = {name: prepare(path, Path(folder) / str(index)) for index, (name, path) in enumerate(files.items())}
        writers, loads = {}, {}
        for name, path in prepared.items():
            writers[name], loads[name] = _load(path, plan.threads)
            stack.callback(writers[name].close)
        most = min(writer.context for writer in writers.values())
        fitting = [context for context in plan.contexts if context + plan.steps <= most]
        times = {(name, context): _ContextTimes() for name in files for context in fitting}
        with reporter.bar(gettext("measuring prompts and tokens"), plan.rounds * len(fitting)) as bar:
            for _ in range(plan.rounds):
                for context in fitting:
                    for name, writer in writers.items():
                        _time(writer, context, plan.steps, times[name, context])
                    bar.advance(note=gettext("context {context}", context=context))
        peaks = {name: _peaks(path, fitting, plan.threads) for name, path in prepared.items()}
        rows = []
        for context in plan.contexts:
            for name, writer in writers.items():
                if context in fitting:
                    quantities = _quantities(context, times[name, context], loads[name])
                    quantities |= _bytes(prepared[name], writer, context) | {"memory_bytes": peaks[name][context]}
                else:
                    reason = gettext("the network takes at most {most} tokens", most=most)
                    quantities = {key: Quantity.missing(unit, reason) for key, unit in UNITS.items()}
                values = {key: quantities[key].model_dump(mode="json") for key in UNITS}
                rows.append({"subject": name, "device": device, "context": context, **values})
    return tuple(rows)


def _load(path: Path, threads: int) -> tuple[Writer, Quantity]:
    """A session, and the time to load it."""
    seconds, writer = [], None
    for _ in range(LOADS):
        if writer is not None:
            writer.close()
        start = time.perf_counter()
        writer = open_prepared(path, threads=threads)
        seconds.append(time.perf_counter() - start)
    assert writer is not None  # noqa: S101  # `LOADS` is at least 1
    detail = gettext("median of loads, the file in the cache of the system")
    return writer, Quantity.measured(float(np.median(seconds)) * 1000, "ms", detail, runs=LOADS)


def _bytes(path: Path, writer: Writer, context: int) -> Metrics:
    """Size on disk, and bytes of keys and values: of a text of C tokens, or of a source and a response of C tokens each."""
    sizes = [part.stat().st_size for part in ([path] if path.is_file() else path.iterdir())]
    kept = writer.key_value_bytes(context, context if writer.is_apart else 0)
    counted = gettext("counted from shapes")
    if writer.is_apart:
        counted = gettext("counted from shapes: a source and a response of {count} tokens each", count=context)
    return {
        "size_bytes": Quantity.measured(sum(sizes), "bytes", gettext("size on disk")),
        "key_value_bytes": Quantity.measured(kept, "bytes", counted),
    }


def _time(writer: Writer, context: int, steps: int, times: _ContextTimes) -> None:
    """Read a prompt and further tokens; the first token after each prompt is not counted, since its run allocates."""
    before = context - 1 if writer.is_apart else 0  # of the response, whose first token is the start
    writer.reserve(context, before + steps)
    vocabulary_step = 7  # numbers that differ; their values do not matter for the time
    prompt = [(index * vocabulary_step) % 100 for index in range(context)]
    start = time.perf_counter()
    token = int(writer.begin(prompt, before + steps)[-1].argmax())
    times.prompts.append(time.perf_counter() - start)
    if before:
        writer.read([token] * before)
    for step in range(steps):
        start = time.perf_counter()
        token = int(writer.read([token])[-1].argmax())
        if step:
            times.tokens.append(time.perf_counter() - start)


def _quantities(context: int, times: _ContextTimes, load: Quantity) -> Metrics:
    first_ms = [1000 * seconds for seconds in times.prompts[1:] or times.prompts]
    tokens_ms = [1000 * seconds for seconds in times.tokens]
    first, token = _median(first_ms), _median(tokens_ms)
    return {
        "time_to_first_token_ms": first,
        "prefill_tokens_per_s": _rate(first, 1000 * context),
        "decode_tokens_per_s": _rate(token, 1000),
        "token_p50_ms": token,
        "token_p95_ms": Quantity.measured(float(np.percentile(tokens_ms, 95)), "ms", runs=len(tokens_ms)),
        "load_ms": load,
    }


def _median(values: Sequence[float]) -> Quantity:
    return Quantity.measured(
        float(np.median(values)),
        "ms",
        gettext("median, this machine"),
        interval=percentile_interval(values, 0.5),
        runs=len(values),
    )


def _rate(time_ms: Quantity, amount: float) -> Quantity:
    """An amount per second from a time, with its interval."""
    low, high = (None if bound is None else amount / bound for bound in (time_ms.high, time_ms.low))
    interval = None if low is None or high is None else (low, high)
    assert time_ms.value is not None  # noqa: S101  # it was measured
    return Quantity.measured(
        amount / time_ms.value, "1/s", gettext("from the median time"), interval=interval, runs=time_ms.runs
    )


def _peaks(path: Path, contexts: Sequence[int], threads: int) -> dict[int, Quantity]:
    """Peak memory by context, of a new process that reads the shorter prompts before."""
    if not contexts:
        return {}
    command = [sys.executable, "-P", str(PROBE), str(path.resolve()), str(threads), *map(str, contexts)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)  # noqa: S603
        peaks = json.loads(done.stdout)
    except (subprocess.SubprocessError, ValueError, OSError) as error:
        reason = gettext("the process failed: {error}", error=type(error).__name__)
        return dict.fromkeys(contexts, Quantity.missing("bytes", reason))
    detail = gettext("peak resident in a new process that read the shorter prompts before")
    return {context: Quantity.measured(peak, "bytes", detail, runs=1) for context, peak in zip(contexts, peaks, strict=True)}
