"""The artifact of a language model: its files, the comparison before it ships, and why an artifact stays without a cache."""

import dataclasses
import json
import subprocess
import sys

import pytest

from compress.backends.decoder.key_value_cache import is_cached
from compress.backends.decoder.sampling import Sampler
from compress.core.atomic_files import sha256
from compress.core.sentences import render
from compress.core.stage import Context
from compress.export.decoder_artifact import DecoderArtifacts
from compress.export.parity import ParityTable
from compress.export.settings import DecoderExport, ExportTarget, Tolerance
from compress.export.stage import Export
from compress.export.stream_text import GenerationTimes
from compress.export.text_generator import TextGenerator
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


@pytest.mark.parametrize(("kind", "bits"), [("int8", 8), ("int4", 4)])
def test_keys_and_values_may_be_integers(kind, bits, context, language_artifact):
    _, candidate = language_artifact
    notes, rows, folder = written(context, candidate, key_value=kind)
    assert [note.code for note in notes] == ["export.cache", "export.integer_cache"]
    values, whole = notes[1].values, 2 * 2 * 2 * 16 * 4
    assert (values["bytes"], values["float_bytes"]) == (whole * bits // 32, whole)
    assert values["token_ms"] > 0
    assert f"keys and values of {bits} bits take {whole * bits // 32} bytes" in render(notes[1])
    assert json.loads((folder / "manifest.json").read_text())["key_value_cache"]["bits"] == bits
    assert rows[0]["top1"] == 1.0
    assert rows[1]["cosine"] > (0.999 if bits == 8 else 0.8)
    (folder / "tokenizer.json").write_bytes(context.data.files["tokenizer.json"])
    script = subprocess.run(
        [sys.executable, folder / "infer.py", "river stone", "8"], capture_output=True, text=True, check=False
    )
    assert script.returncode == 0, script.stderr
    generator = TextGenerator(folder)
    prompt = generator.prompt_tokens("river stone")
    times = GenerationTimes(len(prompt))
    text = "".join(generator.stream(prompt, Sampler(), most=8, times=times))
    assert script.stdout.rstrip("\n") == text.rstrip("\n")
    genai = pytest.importorskip("onnxruntime_genai")
    parameters = genai.GeneratorParams(model := genai.Model(str(folder)))
    parameters.set_search_options(max_length=len(prompt) + 8, do_sample=False)
    theirs = genai.Generator(model, parameters)
    theirs.append_tokens(prompt)
    found = []
    while not theirs.is_done() and len(found) < 8:
        theirs.generate_next_token()
        found.append(int(theirs.get_next_tokens()[0]))
    assert found[: len(times.tokens)] == times.tokens
