from __future__ import annotations

from collections.abc import Callable

from compress.backends.open_runner import open_runner
from compress.core.stage import Context
from compress.data.interface import Data
from compress.quantize.acceptance_timing import FLOAT, QUANTIZED, AcceptanceCriteria, rows_by_size, time_by_size
from tests.export.tiny import SPEC as IMAGES
from tests.export.tiny import split
from tests.quantize.encoder import SPEC, encoder_file


def test_every_candidate_is_timed_at_the_typical_and_the_largest_length(make_context: Callable[..., Context]) -> None:
    context = make_context(Data(IMAGES, split(2, 0), split(2, 1), split(2, 2)))
    keys = (FLOAT, "onnxruntime"), (QUANTIZED, "onnxruntime")
    with open_runner("onnxruntime", encoder_file()) as first, open_runner("onnxruntime", encoder_file()) as second:
        runners = dict(zip(keys, (first, second), strict=True))
        by_size = time_by_size(runners, AcceptanceCriteria(None, 0.01, signature=SPEC.signature), context)
    assert {size: set(timings) for size, timings in by_size.items()} == {"sequence 16": set(keys), "sequence 48": set(keys)}
    assert all(len(timing.milliseconds) >= 10 for timings in by_size.values() for timing in timings.values())
    rows = rows_by_size(by_size, {FLOAT: "onnxruntime"})
    assert [(row["sizes"], row["network"], row["speedup"] is None) for row in rows] == [
        (size, network, network == FLOAT) for size in by_size for network in (FLOAT, QUANTIZED)
    ]
