import math

import pytest
from pydantic import ValidationError

from compress.core.fact import SKIPPED, TEXT, Fact
from compress.core.language import gettext, in_language
from compress.core.network_spec import image_spec
from compress.core.record import BenchmarkRow, LengthRow, Quantity, StageRecord
from compress.core.verdict import Check

STAGE = {
    "index": 1, "name": "prune", "key": "k", "parent_key": "", "form": "torch", "parameters": {}, "before": {}, "after": {},
    "seed": 0, "versions": {}, "started": "2026-01-01T00:00:00+00:00", "wall_time_s": 1.0,
}  # fmt: skip


def test_a_quantity_is_measured_estimated_or_missing() -> None:
    measured = Quantity.measured(2.0, "ms", "here", interval=(1.5, 2.5), runs=9)
    estimated = Quantity.estimated(2.0, "ms", "roofline", band=(1.0, 4.0))
    missing = Quantity.missing("W", "no sensor")
    assert [quantity.how for quantity in (measured, estimated, missing)] == ["measured", "estimated", "not measured"]
    assert (measured.low, measured.high, measured.runs) == (1.5, 2.5, 9)
    assert (estimated.low, estimated.high) == (1.0, 4.0)
    assert missing.value is None


def test_models_are_frozen_and_refuse_unknown_keys_and_not_a_number() -> None:
    quantity = Quantity.measured(1.0, "ms")
    with pytest.raises(ValidationError, match="frozen"):
        quantity.value = 2.0  # type: ignore[misc]
    with pytest.raises(ValidationError, match="mean"):
        Quantity(unit="ms", how="measured", mean=1.0)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="finite"):
        Quantity.measured(math.nan, "ms")


def test_older_sentences_and_skips_become_facts() -> None:
    old = STAGE | {"notes": ["a sentence"], "skipped": [{"what": "conv1", "reason": "too small"}]}
    stage = StageRecord.model_validate(old)
    assert stage.notes == (Fact.of(TEXT, text="a sentence"),)
    assert stage.skipped == (Fact.of(SKIPPED, "conv1", reason="too small"),)
    assert StageRecord.model_validate_json(stage.model_dump_json()) == stage


def test_older_field_names_are_read() -> None:
    row = {"subject": "artifact", "device": "host", "runtime": "onnxruntime", "quantities": {}}
    assert BenchmarkRow.model_validate(row | {"here": True}).local
    assert StageRecord.model_validate(STAGE | {"subjects": [row]}).benchmark_rows == (BenchmarkRow(**row),)
    size = Quantity.measured(1.0, "bytes")
    check = {"limit": "size bytes", "allowed": "1 MB", "passed": True, "explanation": "", "found": size.model_dump()}
    assert Check.model_validate(check).quantity == size
    assert Check.model_validate(check).quantity_name == "size_bytes"


def test_equal_facts_have_equal_hashes() -> None:
    assert len({Fact.of("prune.small", "conv1", size=3), Fact.of("prune.small", "conv1", size=3)}) == 1
    assert Fact.of("prune.small", "conv1", size=3) != Fact.of("prune.small", "conv1", size=4)


def test_the_shape_of_a_sample_is_channels_height_width() -> None:
    spec = image_spec(channels=3, height=32, width=48, mean=(0.0,) * 3, std=(1.0,) * 3, classes=("a", "b"))
    assert spec.shape == (3, 32, 48)


def test_a_row_by_length_keeps_its_texts_as_templates() -> None:
    missing = Quantity.missing("ms", gettext("the network takes at most {most} tokens", most=64))
    row = LengthRow(
        subject="artifact",
        device="phone",
        runtime=gettext("{runtime} (assumed)", runtime="onnxruntime"),
        axis="sequence",
        length=128,
        batch=1,
        quantities={"latency_p50_ms": missing},
    )
    recorded = row.model_dump_json()
    assert LengthRow.model_validate_json(recorded) == row
    with in_language("zh"):
        again = LengthRow.model_validate_json(recorded)
    assert again.runtime == "onnxruntime（假定）"
    assert again.quantities["latency_p50_ms"].detail == "该网络最多接受 64 个词元"
