"""Time of requests that read a prompt and write an answer, of several files in turns.

    t = t_prompt + (answer − 1) · t_token      t_token after the prompt and half of the answer

The first token of an answer comes with the prompt. int4 weights shorten t_token, which reads all weights, and hardly t_prompt,
which multiplies; dynamic int8 shortens both, so which scheme is faster depends on the mix.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.backends.decoder.open_writer import Writer, open_writer
from compress.core.language import gettext
from compress.core.record import Quantity
from compress.core.statistics import percentile_interval

ROUNDS, STEPS = 9, 8
"""Requests of each file, of which the first is not counted, and further tokens that are timed of each."""


@dataclass(frozen=True)
class MixTimes:
    """Times of the requests of one file, in the order of the rounds; those of files of one session belong together.

    Attributes:
        prompts_ms: Reading the prompt, ms.
        tokens_ms: One further token, ms.
        answer: Tokens of an answer.
    """

    prompts_ms: tuple[float, ...]
    tokens_ms: tuple[float, ...]
    answer: int

    @property
    def requests_ms(self) -> np.ndarray:
        """Time of each request, ms."""
        times: np.ndarray = np.array(self.prompts_ms) + (self.answer - 1) * np.array(self.tokens_ms)
        return times

    def quantities(self) -> dict[str, Quantity]:
        """Medians: `request_ms`, `time_to_first_token_ms`, `token_p50_ms`."""
        series = {
            "request_ms": self.requests_ms,
            "time_to_first_token_ms": np.array(self.prompts_ms),
            "token_p50_ms": np.array(self.tokens_ms),
        }
        detail = gettext("median, this machine")
        return {
            name: Quantity.measured(
                float(np.median(values)), "ms", detail, interval=percentile_interval(values, 0.5), runs=len(values)
            )
            for name, values in series.items()
        }


def time_mix(files: Mapping[str, Path], prompt: int, answer: int, *, threads: int = 1) -> dict[str, MixTimes]:
    """Time requests of each file in turns.

    Args:
        files: ONNX files by name, with past keys and values, or with the layout of a decoder.
        prompt: Tokens of a prompt; cut at the context of the network, less the answer where both share it.
        answer: Tokens of an answer, at least 1.
        threads: Threads within an operator.

    Raises:
        ConversionError: A file is no decoder, or does not load.
    """
    with ExitStack() as stack:
        writers = {name: stack.enter_context(open_writer(path, threads=threads)) for name, path in files.items()}
        context = min(writer.context for writer in writers.values())
        is_apart = any(writer.is_apart for writer in writers.values())
        steps = min(STEPS, max(1, answer - 1))
        length = max(1, min(prompt, context if is_apart else context - answer))
        middle = max(0, min(answer // 2, context - 1 - steps if is_apart else context - steps - length))
        prompts: dict[str, list[float]] = {name: [] for name in files}
        tokens: dict[str, list[float]] = {name: [] for name in files}
        for _ in range(ROUNDS):
            for name, writer in writers.items():
                first, further = _request(writer, length, middle, steps)
                prompts[name].append(first)
                tokens[name].append(further)
    return {name: MixTimes(tuple(prompts[name][1:]), tuple(tokens[name][1:]), answer) for name in files}


def _request(writer: Writer, length: int, middle: int, steps: int) -> tuple[float, float]:
    """Time of a prompt, and the median time of a further token after `middle` tokens of the answer, ms."""
    writer.reserve(length, middle + steps)
    start = time.perf_counter()
    writer.begin([1] * length, middle + steps)
    first = time.perf_counter() - start
    if middle:
        writer.read([1] * middle)
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        writer.read([1])
        times.append(time.perf_counter() - start)
    return 1000 * first, 1000 * float(np.median(times))


def mix_speedup(reference: MixTimes, other: MixTimes) -> Quantity:
    """Time of the reference over that of the other, the median over pairs of requests of one round, with its interval."""
    ratios = reference.requests_ms / other.requests_ms
    return Quantity.measured(
        float(np.median(ratios)), "1", gettext("requests of {count} rounds, in turns", count=len(ratios)),
        interval=percentile_interval(ratios, 0.5), runs=len(ratios),
    )  # fmt: skip
