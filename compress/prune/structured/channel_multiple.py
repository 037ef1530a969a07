"""Which multiple channel counts should be rounded to: what a device's kernels want, or what is fastest when tried.

Rounding matters more than multiply-accumulates: ONNX Runtime runs convolutions in blocks of channels, and a network whose
widths do not fit falls back to slower kernels and may end up slower than the dense one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from compress.config.devices import Device
from compress.core.errors import ModelError
from compress.core.record import InputSpec
from compress.core.sentences import render
from compress.models.count_macs import count_network
from compress.profile.compare_networks import BASELINE, median_ms
from compress.prune.base import Constraints
from compress.prune.criteria import magnitude
from compress.prune.speedup import SpeedupMeter
from compress.prune.structured.channels import ChannelPruner
from compress.prune.structured.layer_costs import CostMeasure
from compress.prune.structured.select_channels import Ranking

CANDIDATES = (1, 4, 8, 16, 32)


def device_multiple(device: Device) -> tuple[int, str]:
    """Multiple of channels that the kernels of a device compute with, and who says so."""
    if device.kind == "gpu":
        if device.precision.activations == "int8":
            return 16, "tensor cores take int8 in 16 bytes, 16 channels (NVIDIA, Matrix Multiplication Background, table 1)"
        return 8, "tensor cores take fp16 in 16 bytes, 8 channels (NVIDIA, Matrix Multiplication Background, table 1)"
    sets = device.hardware.instruction_sets if device.hardware else ()
    if "avx2" in sets and "avx512f" not in sets:
        return 8, "ONNX Runtime on AVX2 blocks float channels by 8 (MlasNchwcGetBlockSize)"
    if "avx512f" in sets:
        return 16, "ONNX Runtime on AVX-512 blocks float channels by 16, and VNNI sums into 16 lanes (MlasNchwcGetBlockSize)"
    return 16, "Arm's SDOT takes int8 in vectors of 16 bytes, and ONNX Runtime packs its operands likewise (Arm ISA, MLAS)"


def benchmark_multiples(
    parent: nn.Module,
    spec: InputSpec,
    fraction: float,
    stopwatch: SpeedupMeter,
    *,
    measure: CostMeasure,
    ranking: Ranking,
    limits: Constraints,
) -> tuple[int, tuple[dict[str, Any], ...]]:
    """Prune to the same cost with each rounding and time the results, all in turns.

    Channels are chosen by magnitude; widths, not channels, decide the time.

    Args:
        parent: The dense network. Not changed.
        spec: Its input.
        fraction: Of the dense cost to keep.
        stopwatch: Times against the dense network.
        measure: What the fraction is of.
        ranking: As for the pruning that follows.
        limits: Likewise; `round_to` is tried out.

    Returns:
        The fastest of `CANDIDATES` that reaches the cost, and a row for each.

    Raises:
        ModelError: None of them can prune this network.
    """
    made: dict[int, nn.Module] = {}
    failed: dict[int, str] = {}
    for multiple in CANDIDATES:
        try:
            pruner = ChannelPruner(parent, spec, measure=measure, ranking=ranking, limits=replace(limits, round_to=multiple))
            cut = pruner.prune(parent, fraction, magnitude())
        except ModelError as error:
            failed[multiple] = str(error)
            continue
        if cut.notes:
            failed[multiple] = render(cut.notes[0])
        else:
            made[multiple] = cut.module
    if not made:
        first = next(iter(failed.values()))
        msg = f"round_to: measure found no rounding at which this network reaches the target; with 1: {first}"
        raise ModelError(msg)
    timings, _ = stopwatch.time({str(multiple): module for multiple, module in made.items()})
    times = {multiple: median_ms(timings[str(multiple)]) for multiple in made}
    rows = tuple(
        {
            "round_to": multiple,
            "macs_ratio": count_network(made[multiple], spec).macs / stopwatch.macs if multiple in made else None,
            "latency_ms": times.get(multiple),
            "of_dense": times[multiple] / median_ms(timings[BASELINE]) if multiple in made else None,
            "note": failed.get(multiple, ""),
        }
        for multiple in CANDIDATES
    )
    return fastest(times), rows


def fastest(times: Mapping[int, float]) -> int:
    """The multiple with the shortest time; of equal ones the smaller."""
    return min(times, key=lambda multiple: (times[multiple], multiple))
