"""Speed of generation for the profile stage, on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from compress.backends.decoder.key_value_cache import read_layout
from compress.config.devices import Device
from compress.core.entries import Row
from compress.core.errors import CompressError
from compress.core.fact import Fact
from compress.core.language import message_of
from compress.core.stage import Context
from compress.profile.generation.measure import GenerationPlan, measure_generation


def generation_rows(
    files: Mapping[str, Path], device: Device, context: Context, contexts: Sequence[int], threads: int
) -> tuple[tuple[Row, ...], tuple[Fact, ...]]:
    """Rows of `measure_generation` for the files whose attention layers are known, and facts on the others.

    There are none for tasks that write no texts, and for devices that are not this machine.

    Args:
        files: ONNX files by subject, with a layout or without.
        device: Device profile.
        context: Task and reporter.
        contexts: Tokens of the prompts; empty measures none.
        threads: Threads within an operator.
    """
    if "writes_text" not in context.task.capabilities or device.connection != "local" or not contexts:
        return (), ()
    known = {name: path for name, path in files.items() if read_layout(path) is not None}
    left_out = tuple(Fact.of("profile.no_generation", name) for name in files if name not in known)
    if not known:
        return (), left_out
    plan = GenerationPlan(tuple(sorted(set(contexts))), threads, device.contract.affinity)
    try:
        rows = measure_generation(known, plan, device=device.name, reporter=context.reporter)
    except CompressError as error:
        return (), (*left_out, Fact.of("profile.generation_failed", device.name, error=message_of(error)))
    return rows, left_out
