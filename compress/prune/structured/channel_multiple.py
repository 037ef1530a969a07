"""Multiple for channel counts: that of the kernels of a device, or the fastest in a benchmark.

ONNX Runtime computes convolutions in blocks of channels. Other widths use slower kernels, so a network with fewer
multiply-accumulates can be slower than the dense network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import nn

from compress.config.devices import Device
from compress.core.entries import Row
from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.sentences import render
from compress.models.count_macs import count_network
from compress.profile.compare_networks import BASELINE, median_ms
from compress.prune.base import Constraints, PrunedModel
from compress.prune.criteria import magnitude
from compress.prune.speedup import SpeedupMeter
from compress.prune.structured.channels import ChannelPruner
from compress.prune.structured.layer_costs import CostMeasure
from compress.prune.structured.select_channels import Ranking

CANDIDATES = (1, 4, 8, 16, 32)


def device_multiple(device: Device) -> tuple[int, str]:
    """The channel multiple of the kernels of a device, and its source."""
    if device.kind == "gpu":
        if device.precision.activations == "int8":
            return (
                16,
                gettext(
                    "tensor cores read 16 bytes, which are 16 int8 channels (NVIDIA, Matrix Multiplication Background, table 1)"
                ),
            )
        return 8, gettext(
            "tensor cores read 16 bytes, which are 8 fp16 channels (NVIDIA, Matrix Multiplication Background, table 1)"
        )
    sets = device.hardware.instruction_sets if device.hardware else ()
    if "avx2" in sets and "avx512f" not in sets:
        return 8, gettext("ONNX Runtime on AVX2 blocks float channels by 8 (MlasNchwcGetBlockSize)")
    if "avx512f" in sets:
        return 16, gettext("ONNX Runtime on AVX-512 blocks float channels by 16, and VNNI has 16 lanes (MlasNchwcGetBlockSize)")
    return 16, gettext(
        "Arm SDOT reads int8 vectors of 16 bytes, and ONNX Runtime packs its operands accordingly (Arm ISA, MLAS)"
    )


def benchmark_multiples(
    parent: nn.Module,
    spec: NetworkSpec,
    fraction: float,
    meter: SpeedupMeter,
    *,
    measure: CostMeasure,
    ranking: Ranking,
    limits: Constraints,
) -> tuple[int, tuple[Row, ...]]:
    """Prune to the same cost with each multiple of `CANDIDATES`, and time the results in turns.

    Channels are ranked by magnitude, since the time depends only on widths.

    Args:
        parent: The dense network. Not changed.
        spec: Its input.
        fraction: Fraction of the dense cost to keep.
        meter: Meter of the dense network.
        measure: Measure of the cost.
        ranking: Ranking of the stage.
        limits: Limits of the stage; `round_to` is replaced by each candidate.

    Returns:
        The fastest multiple that reaches the cost, and a row for each candidate.

    Raises:
        ModelError: No candidate reaches the cost.
    """

    def prune(multiple: int) -> PrunedModel:
        pruner = ChannelPruner(parent, spec, measure=measure, ranking=ranking, limits=replace(limits, round_to=multiple))
        return pruner.prune(parent, fraction, magnitude())

    networks, failures = _prune_by_each(prune)
    if not networks:
        first = next(iter(failures.values()))
        msg = gettext(
            "round_to: measure: with no multiple of {candidates} this network reaches the target "
            "(with {smallest}: {first}); use a larger target",
            candidates=", ".join(map(str, CANDIDATES)),
            smallest=CANDIDATES[0],
            first=first,
        )
        raise ModelError(msg)
    timings, _ = meter.time({str(multiple): module for multiple, module in networks.items()})
    times = {multiple: median_ms(timings[str(multiple)]) for multiple in networks}
    rows = tuple(
        {
            "round_to": multiple,
            "macs_ratio": count_network(networks[multiple], spec).macs / meter.macs if multiple in networks else None,
            "latency_ms": times.get(multiple),
            "of_dense": times[multiple] / median_ms(timings[BASELINE]) if multiple in networks else None,
            "note": failures.get(multiple, ""),
        }
        for multiple in CANDIDATES
    )
    return fastest(times), rows


def _prune_by_each(prune: Callable[[int], PrunedModel]) -> tuple[dict[int, nn.Module], dict[int, str]]:
    """The networks that reach the cost, and for the others why they do not, by multiple."""
    networks: dict[int, nn.Module] = {}
    failures: dict[int, str] = {}
    for multiple in CANDIDATES:
        try:
            pruned = prune(multiple)
        except ModelError as error:
            failures[multiple] = str(error)
            continue
        if pruned.notes:
            failures[multiple] = render(pruned.notes[0])
        else:
            networks[multiple] = pruned.module
    return networks, failures


def fastest(times: Mapping[int, float]) -> int:
    """The multiple with the shortest time; the smaller multiple if times are equal."""
    return min(times, key=lambda multiple: (times[multiple], multiple))
