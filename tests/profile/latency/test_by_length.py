"""Measurements by sequence length."""

from pathlib import Path

import numpy as np
import pytest

from compress.config.devices import host
from compress.core.progress import NullReporter
from compress.core.record import LENGTHS, LengthRow
from compress.core.signature import AxisSizes, Signature, TensorSpec
from compress.profile.latency import by_length
from compress.profile.latency.by_length import UNITS, LengthGrid, length_axis, length_grid, measure_lengths
from compress.profile.settings import MeasurementSettings
from tests.profile.onnx_models import encoder

IDS = TensorSpec(name="input_ids", dtype="int64", shape=("batch", "sequence"), values=(0, 9))


def signature(most: int = 100) -> Signature:
    return Signature(inputs=(IDS,), sizes={"sequence": AxisSizes(1, 32, most)})


@pytest.fixture
def files(save) -> dict[str, Path]:
    return {"teacher": save("teacher.onnx", encoder(width=256)), "artifact": save("artifact.onnx", encoder(width=16))}


def measure(files: dict[str, Path], grid: LengthGrid) -> dict[tuple[str, int, int], LengthRow]:
    plan = MeasurementSettings.of(host(), threads=1, seconds=0.05)
    rows = measure_lengths(
        files,
        lambda _, batch, length: {"input_ids": np.ones((batch, length), np.int64)},
        grid,
        plan,
        device="host",
        reporter=NullReporter(),
    )
    return {(row.subject, row.length, row.batch): row for row in rows}


def test_the_axis_of_tokens_is_the_only_free_one_besides_the_batch() -> None:
    image = TensorSpec(name="x", shape=("batch", 3, "height", "width"))
    frames = TensorSpec(name="x", shape=("batch", "time"))
    cache = TensorSpec(name="past", shape=("batch", 2, "past", 4))
    assert length_axis(signature()) == "sequence"
    assert [length_axis(Signature(inputs=inputs)) for inputs in ((image,), (frames,), (IDS, cache))] == [None] * 3


def test_default_lengths_end_at_the_most_of_the_network_and_chosen_ones_stay() -> None:
    assert length_grid(signature(100), LENGTHS, (4, 1)) == LengthGrid("sequence", (16, 32, 64, 100), (1, 4), 100)
    assert length_grid(signature(4096), LENGTHS, ()) == LengthGrid("sequence", LENGTHS, (1,), 4096)
    chosen = length_grid(signature(100), (128, 16), ())
    assert chosen is not None
    assert chosen.lengths == (16, 128)
    assert length_grid(signature(), (), ()) is None


def test_every_network_is_measured_at_every_length_and_batch(files) -> None:
    rows = measure(files, LengthGrid("sequence", (8, 128), (1, 2), None))
    assert len(rows) == 8
    assert all(row.quantities.keys() >= UNITS.keys() for row in rows.values())
    short, long, pairs = (rows["teacher", *point].quantities for point in ((8, 1), (128, 1), (128, 2)))
    assert (long["latency_p50_ms"].value or 0) > (short["latency_p50_ms"].value or 0)
    for quantities, batch in ((long, 1), (pairs, 2)):
        p50, rate, tokens = (quantities[name] for name in ("latency_p50_ms", "throughput_per_s", "tokens_per_s"))
        assert rate.value == pytest.approx(1000 * batch / p50.value)
        assert (tokens.value, tokens.low) == (pytest.approx(128 * rate.value), pytest.approx(128 * rate.low))
        assert "2 files timed in turns" in p50.detail
    assert (long["memory_bytes"].value or 0) >= (short["memory_bytes"].value or 0) > 1e6
    assert "speedup_vs_teacher" in rows["artifact", 128, 1].quantities
    assert "speedup_vs_artifact" not in long


def test_lengths_over_the_most_and_out_of_time_have_reasons(files, monkeypatch) -> None:
    monkeypatch.setattr(by_length, "_cost_s", lambda *_: 0.3)  # of the 1.6 s that 4 lengths of 2 files are allowed
    rows = measure(files, LengthGrid("sequence", (8, 16, 32, 64), (1,), 32))
    p50 = {length: rows["artifact", length, 1].quantities["latency_p50_ms"] for length in (8, 16, 32, 64)}
    assert [quantity.how for quantity in p50.values()] == ["measured", "measured", "not measured", "not measured"]
    assert p50[32].detail == "out of time: length 32 needs 0.6 s, 0.4 s are left; raise `seconds`"
    assert p50[64].detail == "the network takes at most 32 tokens"
    assert {quantity.detail for quantity in rows["teacher", 32, 1].quantities.values()} == {p50[32].detail}


def test_a_length_at_which_a_file_does_not_run_has_its_error(save) -> None:
    files = {"artifact": save("fixed.onnx", encoder(positions=16))}
    rows = measure(files, LengthGrid("sequence", (8, 32), (1,), None))
    assert rows["artifact", 8, 1].quantities["latency_p50_ms"].how == "measured"
    failed = rows["artifact", 32, 1].quantities["latency_p50_ms"]
    assert failed.how == "not measured"
    assert failed.detail.startswith("the file does not run at this length")
