"""Measurements of networks of audio by the seconds of their clips: the real-time factor.

    RTF = time of a run / seconds of audio in it

Below 1 a network is faster than the speech it hears. Two networks are compared by it at equal quality alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from compress.core.network_spec import NetworkSpec
from compress.core.record import LENGTHS, LengthRow, Metrics, Quantity

FACTOR = "real_time_factor"
"""Name of the quantity."""


def default_lengths(spec: NetworkSpec, lengths: Sequence[int]) -> tuple[int, ...]:
    """Lengths in samples in place of the default ones in tokens: half, once and twice the typical length, and the longest.

    Args:
        spec: Of the network; lengths of other networks stay.
        lengths: Of the user, or `LENGTHS`.
    """
    axis = next((axis for axis in spec.signature.free_axes if axis in spec.signature.sizes), None)
    given = tuple(lengths)
    if spec.audio is None or axis is None or given not in (LENGTHS, LENGTHS[:1]):
        return given
    _, typical, most = spec.signature.sizes[axis]
    if given != LENGTHS:  # a smoke run
        return (typical,)
    return tuple(sorted({max(1, typical // 2), typical, min(2 * typical, most), most}))


def in_real_time(rows: Sequence[LengthRow], spec: NetworkSpec) -> tuple[LengthRow, ...]:
    """The rows with the real-time factor in place of tokens per second, for networks of audio.

    Args:
        rows: By length in samples.
        spec: Of the network.
    """
    if spec.audio is None:
        return tuple(rows)
    rate = spec.audio.rate
    return tuple(
        row.model_copy(
            update={
                "quantities": {
                    **{name: value for name, value in row.quantities.items() if name != "tokens_per_s"},
                    FACTOR: real_time_factor(row.quantities["latency_p50_ms"], row.batch * row.length / rate),
                }
            }
        )
        for row in rows
    )


def real_time_factor(latency: Quantity, seconds: float) -> Quantity:
    """The time of a run by the seconds of audio in it, with its interval.

    Args:
        latency: Time of a run, ms; may be missing.
        seconds: Of audio.
    """
    scale = 1e-3 / seconds
    ends = {name: value * scale for name in ("value", "low", "high") if (value := getattr(latency, name)) is not None}
    return latency.model_copy(update={**ends, "unit": "1"})


def typical_factor(rows: Sequence[LengthRow], spec: NetworkSpec) -> Metrics:
    """The factor of the artifact on this machine for a clip of the typical length; empty where it was not measured.

    Args:
        rows: See `in_real_time`.
        spec: Of the network.
    """
    sizes = spec.signature.sizes
    found = [
        row.quantities[FACTOR]
        for row in rows
        if row.subject == "artifact"
        and row.local
        and row.batch == 1
        and row.axis in sizes
        and FACTOR in row.quantities
        and row.length == sizes[row.axis].typical
    ]
    return {FACTOR: found[0]} if found and found[0].value is not None else {}
