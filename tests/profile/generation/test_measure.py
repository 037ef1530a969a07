"""Speed of prompts and tokens: rows, their provenance, contexts that a network does not take, and float beside."""

import pytest

from compress.core.errors import ConversionError
from compress.core.progress import NullReporter
from compress.core.record import Quantity
from compress.profile.generation.measure import UNITS, GenerationPlan, measure_generation
from tests.export.decoder_artifacts import MOST

PLAN = GenerationPlan((4, 16, 512), rounds=7, steps=6)


@pytest.fixture(scope="module")
def rows(language_artifact):
    folder, candidate = language_artifact
    files = {"student": candidate.files["onnxruntime"], "artifact": folder / "model.onnx"}
    return measure_generation(files, PLAN, device="host", reporter=NullReporter())


def value(row, name):
    return Quantity.model_validate(row[name])


def test_every_context_has_a_row_for_each_file(rows):
    assert [(row["context"], row["subject"]) for row in rows] == [
        (context, subject) for context in PLAN.contexts for subject in ("student", "artifact")
    ]
    for row in rows[:4]:
        assert all(value(row, name).how == "measured" and value(row, name).unit == unit for name, unit in UNITS.items())


def test_rates_are_those_of_the_times(rows):
    for row in rows[:4]:
        first, token = value(row, "time_to_first_token_ms"), value(row, "token_p50_ms")
        assert value(row, "prefill_tokens_per_s").value == pytest.approx(1000 * row["context"] / first.value)
        assert value(row, "decode_tokens_per_s").value == pytest.approx(1000 / token.value)
        assert first.low <= first.value <= first.high
        assert value(row, "token_p95_ms").value >= token.value
        assert value(row, "load_ms").value > 0


def test_memory_grows_with_the_context(rows):
    assert value(rows[2], "key_value_bytes").value == 4 * value(rows[0], "key_value_bytes").value
    assert value(rows[2], "memory_bytes").value >= value(rows[0], "memory_bytes").value > 1e7


def test_contexts_that_the_network_does_not_take_have_the_reason(rows):
    for row in rows[4:]:
        quantity = value(row, "decode_tokens_per_s")
        assert quantity.how == "not measured"
        assert str(MOST) in quantity.detail


def test_an_encoder_decoder_has_the_bytes_of_its_source_and_of_its_response(response_artifact):
    folder, outcome = response_artifact[:2]
    files = {"student": outcome.candidate.files["onnxruntime"], "artifact": folder / "model.onnx"}
    plan = GenerationPlan((4, 16, MOST), rounds=3, steps=6)
    rows = measure_generation(files, plan, device="host", reporter=NullReporter())
    assert [(row["context"], row["subject"]) for row in rows[:4]] == [
        (context, subject) for context in (4, 16) for subject in files
    ]
    for row in rows[:4]:
        assert all(value(row, name).how == "measured" and value(row, name).value > 0 for name in UNITS)
    per_token = 2 * 2 * 32 * 4  # keys and values of 2 layers of width 32
    assert value(rows[2], "key_value_bytes").value == 2 * per_token * 16
    assert "16" in value(rows[2], "key_value_bytes").detail
    assert all(value(row, "decode_tokens_per_s").how == "not measured" for row in rows[4:])


def test_other_files_are_refused(language_artifact, tmp_path):
    import onnx

    model = onnx.load(language_artifact[1].files["onnxruntime"])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(ConversionError, match="does not describe"):
        measure_generation({"artifact": tmp_path / "bare.onnx"}, PLAN, device="host", reporter=NullReporter())
