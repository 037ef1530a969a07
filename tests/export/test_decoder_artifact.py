"""The artifact of a language model: its files, the comparison before it ships, and why an artifact stays without a cache."""

import dataclasses
import json

import pytest

from compress.backends.decoder.key_value_cache import is_cached
from compress.core.atomic_files import sha256
from compress.core.stage import Context
from compress.export.decoder_artifact import DecoderArtifacts
from compress.export.parity import ParityTable
from compress.export.settings import DecoderExport, ExportTarget, Tolerance
from compress.export.stage import Export
from compress.quantize.schemes import SchemeOptions, build_models
from tests.export.decoder_artifacts import MOST, TASK, text_data

HOST = ExportTarget("host", "onnxruntime")


@pytest.fixture
def context(language_artifact, tmp_path):
    _, candidate = language_artifact
    data = text_data()
    files = {**data.files, "generation_config.json": b'{"eos_token_id": [7, 9]}'}
    return Context(
        data=dataclasses.replace(data, files=files), task=TASK.for_spec(candidate.spec), folder=tmp_path, cache=tmp_path
    )


def written(context, candidate, target=HOST, **settings):
    """Notes, rows of the comparison and the folder of an artifact with a manifest."""
    folder = context.folder / "artifact"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"device": "host"}')
    pairs = ParityTable(context.task)
    artifacts = DecoderArtifacts(context, DecoderExport(**settings), Tolerance(), pairs)
    return artifacts.write(target, candidate, folder), pairs.rows, folder


def test_the_artifact_has_a_cache_its_script_and_the_configuration_of_genai(language_artifact):
    folder, _ = language_artifact
    assert is_cached(folder / "model.onnx")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["key_value_cache"] == {"bytes_per_token": 2 * 2 * 2 * 16 * 4, "context": MOST, "logits": "last"}
    listed = {name: entry["sha256"] for name, entry in manifest["files"].items()}
    assert listed == {path.name: sha256(path) for path in folder.iterdir() if path.name != "manifest.json"}
    assert {"model.onnx", "infer.py", "genai_config.json", "tokenizer.json"} <= listed.keys()


def test_the_logits_of_a_float_file_are_compared(context, language_artifact):
    _, candidate = language_artifact
    notes, rows, folder = written(context, candidate)
    assert [note.code for note in notes] == ["export.cache"]
    assert rows[0]["top1"] == 1.0
    assert 0 <= rows[0]["max_abs"] < 1e-3
    assert json.loads((folder / "genai_config.json").read_text())["model"]["eos_token_id"] == [7, 9]


@pytest.mark.parametrize("scheme", ["weight_int4", "weight_int8", "dynamic_int8"])
def test_quantized_files_keep_their_numbers(scheme, context, language_artifact, tmp_path):
    import onnx_ir as ir

    from compress.backends import onnx_files
    from compress.backends import onnx_graph as graphs

    _, candidate = language_artifact
    model: ir.Model = graphs.to_ir(onnx_files.load(candidate.files["onnxruntime"]))
    quantized = build_models(scheme, model, ("onnxruntime",), SchemeOptions(block=16)).models["onnxruntime"]
    onnx_files.write_metadata(quantized, candidate.spec)
    onnx_files.save(quantized, tmp_path / "quantized.onnx")
    files = {"onnxruntime": tmp_path / "quantized.onnx"}
    notes, rows, folder = written(context, dataclasses.replace(candidate, module=None, files=files))
    assert notes[0].code == "export.cache", notes
    size, float_size = ((each).stat().st_size for each in (folder / "model.onnx", candidate.files["onnxruntime"]))
    assert size < 0.75 * float_size
    if scheme == "dynamic_int8":  # ranges of one token are not those of a text
        assert rows[0]["cosine"] > 0.99
    else:
        assert rows[0]["top1"] == 1.0
        assert rows[0]["max_abs"] < 1e-3


def test_a_runtime_that_is_not_tested_gets_the_file_without(context, language_artifact):
    _, candidate = language_artifact
    notes, rows, folder = written(context, candidate, ExportTarget("box", "openvino"))
    assert [note.code for note in notes] == ["export.no_cache"]
    assert "openvino" in notes[0].values["reason"]
    assert not rows
    assert [path.name for path in folder.iterdir()] == ["manifest.json"]


def test_a_network_without_a_layout_gets_the_file_without(context, language_artifact, tmp_path):
    import onnx

    _, candidate = language_artifact
    model = onnx.load(candidate.files["onnxruntime"])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    notes, _, folder = written(context, dataclasses.replace(candidate, files={"onnxruntime": tmp_path / "bare.onnx"}))
    assert [note.code for note in notes] == ["export.no_cache"]
    assert "does not describe its attention layers" in notes[0].values["reason"]
    assert [path.name for path in folder.iterdir()] == ["manifest.json"]


def test_settings_of_decoders_need_a_task_that_continues_texts():
    assert Export().requirements == {}
    assert Export(decoder={"logits": "all"}).requirements == {"decoder": ("writes_text",)}
