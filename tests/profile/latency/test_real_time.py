"""Real-time factors of networks of audio."""

from __future__ import annotations

import pytest

from compress.core.record import LENGTHS, LengthRow, Quantity
from compress.data.audio.build import audio_spec
from compress.data.audio.settings import AudioSettings
from compress.profile.latency.real_time import FACTOR, default_lengths, in_real_time, real_time_factor, typical_factor

SPEC = audio_spec(AudioSettings(rate=8000, typical=1.0, most=5.0), ("a", "b"))


def row(length: int, latency: Quantity, subject: str = "artifact", batch: int = 1) -> LengthRow:
    quantities = {"latency_p50_ms": latency, "tokens_per_s": Quantity.measured(1.0, "1/s", "timed")}
    return LengthRow(
        subject=subject,
        device="host",
        runtime="ORT",
        axis="samples",
        length=length,
        batch=batch,
        quantities=quantities,
        local=True,
    )


def test_the_factor_is_the_time_by_the_seconds_of_audio() -> None:
    latency = Quantity.measured(20.0, "ms", "timed", interval=(18.0, 24.0), runs=9)
    factor = real_time_factor(latency, 2.0)
    assert (factor.value, factor.low, factor.high) == pytest.approx((0.01, 0.009, 0.012))
    assert factor.unit == "1"
    assert real_time_factor(Quantity.missing("ms", "out of time"), 1.0).value is None


def test_rows_of_audio_have_it_and_others_stay() -> None:
    latency = Quantity.measured(16.0, "ms", "timed")
    rows = in_real_time((row(8000, latency), row(16_000, latency, batch=4)), SPEC)
    assert [each.quantities[FACTOR].value for each in rows] == pytest.approx([0.016, 0.002])
    assert "tokens_per_s" not in rows[0].quantities
    assert typical_factor(rows, SPEC)[FACTOR].value == pytest.approx(0.016)
    assert typical_factor(rows[1:], SPEC) == {}
    texts = SPEC.model_copy(update={"preprocessing": None})
    assert in_real_time((row(8000, latency),), texts)[0].quantities.keys() == {"latency_p50_ms", "tokens_per_s"}


def test_default_lengths_are_those_of_clips() -> None:
    assert default_lengths(SPEC, LENGTHS) == (4000, 8000, 16_000, 40_000)
    assert default_lengths(SPEC, LENGTHS[:1]) == (8000,)
    assert default_lengths(SPEC, (800,)) == (800,)
    assert default_lengths(SPEC.model_copy(update={"preprocessing": None}), LENGTHS) == LENGTHS
