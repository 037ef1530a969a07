from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch import nn

from compress.backends import onnx_files
from compress.core.run_directory import SHIPPED_NETWORK
from compress.core.sentences import render, render_subject
from compress.core.stage import Candidate, Context
from compress.export.stage import Export, _ship_network
from compress.models import checkpoint
from compress.models.saved_network import DESCRIPTION, PROGRAM, WEIGHTS, load, write_description
from compress.quantize.stage import Quantize
from tests.export.tiny import SPEC, Target
from tests.prune.structured.text_networks import make_text_network, settings_of

HOST, JETSON = Target("host", "onnxruntime"), Target("jetson", "tensorrt")


def on(context: Context, *targets: Target) -> Context:
    return dataclasses.replace(context, targets=targets)


def test_float_export_equals_torch_and_ships(network: nn.Module, context: Context) -> None:
    outcome = Export().run(Candidate(SPEC, network, lineage=("a",)), context)
    assert outcome.candidate.form == "onnx"
    assert outcome.candidate.lineage == ("a",)
    assert outcome.candidate.files["onnxruntime"].parent == context.folder
    assert outcome.results["parity_max_abs"].value < 1e-4
    assert outcome.results["parity_cosine"].value > 0.999999
    assert outcome.results["parity_top1"].value == 1.0
    assert outcome.results["parity_mean_abs"].runs == 60
    folder = context.folder / "artifacts" / "host"
    names = {"model.onnx", "manifest.json", "labels.json", "infer.py", "LICENCES.md"}
    assert {path.name for path in folder.iterdir()} == names
    first, second = outcome.tables["parity"]
    assert (first["pair"], second["pair"]) == ("torch", "torch → ONNX float32")
    assert first["accuracy"] == second["accuracy"] > 0.7


@pytest.mark.parametrize("known", [True, False], ids=["stage with a program", "stage without"])
def test_the_last_torch_network_ships_beside_the_artifacts(
    known: bool, network: nn.Module, context: Context, exported: Path, tmp_path: Path
) -> None:
    stage = tmp_path / "prune"
    stage.mkdir()
    checkpoint.save(network, network, stage / WEIGHTS)
    write_description(network, stage, SPEC, architecture=None, task="classification")
    if known:
        (stage / PROGRAM).write_bytes(b"program")
    context = dataclasses.replace(
        context, torch_folder=stage, load_float_network=lambda: network, float_file=exported, to_onnx=lambda _: exported
    )
    Export().run(Candidate(SPEC, network), context)
    shipped = context.folder / SHIPPED_NETWORK
    assert {path.name for path in shipped.iterdir()} == {WEIGHTS, DESCRIPTION, PROGRAM}
    images = torch.randn(3, *SPEC.shape)
    if known:
        assert (shipped / PROGRAM).read_bytes() == b"program"
    else:
        torch.testing.assert_close(torch.export.load(shipped / PROGRAM).module()(images), network(images))
    assert torch.equal(load(context.folder, reference=network)(images), network(images))


def test_a_network_of_transformers_also_ships_as_an_ordinary_folder(context: Context, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    network, spec = make_text_network("bert", tmp_path)
    stage = tmp_path / "prune"
    stage.mkdir()
    checkpoint.save(network, network, stage / WEIGHTS)
    write_description(network, stage, spec, architecture=settings_of("bert"), task="classification")
    (stage / PROGRAM).write_bytes(b"program")
    context = dataclasses.replace(context, torch_folder=stage, load_float_network=lambda: network)
    (note,) = _ship_network(Candidate(spec, network), context)
    assert note.code == "models.hugging_face_folder"
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(context.folder / SHIPPED_NETWORK / note.subject)
    inputs = spec.signature.example(2)
    assert torch.allclose(loaded(**inputs).logits, network(*inputs.values()), atol=1e-5)


def image(folder: Path, size: tuple[int, int]) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3)).astype(np.uint8)
    path = folder / "image.png"
    Image.fromarray(pixels).save(path)
    return path


def infer(folder: Path, path: Path) -> list[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-I", str(folder / "infer.py"), str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment | {"PYTHONUTF8": "1"}, cwd="/")
    return result.stdout.splitlines()


def test_shipped_script_runs_alone_and_answers_as_torch(network: nn.Module, context: Context, tmp_path: Path) -> None:
    Export().run(Candidate(SPEC, network), context)
    path = image(tmp_path, (12, 16))
    folder = context.folder / "artifacts" / "host"
    lines = infer(folder, path)
    pixels = torch.from_numpy(np.asarray(Image.open(path), dtype=np.float32) / 255).permute(2, 0, 1)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (SPEC.mean, SPEC.std))
    with torch.no_grad():
        chances = torch.softmax(network(((pixels - mean) / std)[None])[0], 0)
    order = chances.argsort(descending=True)
    assert [line.split(maxsplit=1)[1] for line in lines] == [SPEC.classes[k] for k in order]
    assert float(lines[0].split()[0].rstrip("%")) == pytest.approx(100 * float(chances[order[0]]), abs=0.06)
    assert len((folder / "infer.py").read_text(encoding="utf-8").splitlines()) < 150


def test_int8_candidate_ships_unchanged_for_each_runtime(network: nn.Module, context: Context) -> None:
    context = on(context, HOST, JETSON)
    quantized = Quantize(calibration={"method": "minmax"}).run(Candidate(SPEC, network), context).candidate
    outcome = Export(formats=("onnx", "tensorrt")).run(quantized, context)
    assert outcome.candidate is quantized
    artifacts = context.folder / "artifacts"
    assert (artifacts / "host" / "model.onnx").read_bytes() == quantized.files["onnxruntime"].read_bytes()
    assert (artifacts / "jetson" / "model.onnx").read_bytes() == quantized.files["tensorrt"].read_bytes()
    script = artifacts / "jetson" / "build_engine.sh"
    assert os.access(script, os.X_OK)
    manifest = json.loads((artifacts / "jetson" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["model"]["build"] == "sh build_engine.sh"
    assert {"infer.py", "build_engine.sh"} <= set(manifest["files"])
    assert outcome.skipped == ()
    assert outcome.results["parity_top1"].value > 0.9


def test_device_of_another_format_is_skipped_with_the_reason(network: nn.Module, context: Context) -> None:
    outcome = Export().run(Candidate(SPEC, network), on(context, HOST, JETSON))
    (skip,) = outcome.skipped
    assert render_subject(skip) == "artifact for jetson"
    assert "'tensorrt'" in render(skip)
    assert not (context.folder / "artifacts" / "jetson").exists()


def test_uint8_is_not_shipped_to_tensorrt(network: nn.Module, context: Context) -> None:
    quantized = Quantize(calibration={"method": "minmax"}).run(Candidate(SPEC, network), context).candidate
    outcome = Export(formats=("onnx", "tensorrt")).run(quantized, on(context, HOST, JETSON))
    (skip,) = outcome.skipped
    assert "uint8" in render(skip)


def test_bfloat16_ships_and_is_compared_by_its_emulation(network: nn.Module, context: Context, exported: Path) -> None:
    context = dataclasses.replace(on(context, JETSON), float_file=exported, load_float_network=lambda: network)
    quantized = Quantize(scheme="bf16").run(Candidate(SPEC, network), context).candidate
    outcome = Export(formats=("tensorrt",)).run(quantized, context)
    shipped = context.folder / "artifacts" / "jetson" / "model.onnx"
    assert shipped.read_bytes() == quantized.files["tensorrt"].read_bytes()
    absent = [row for row in outcome.tables["parity"] if "no bfloat16 kernels" in row["limit"]]
    assert [row["pair"] for row in absent] == ["ONNX float32 → ONNX for tensorrt", "ONNX → TensorRT engine"]
    compared = next(row for row in outcome.tables["parity"] if row["pair"] == "ONNX float32 → ONNX bfloat16 as written")
    assert compared["top1"] > 0.9


def test_float_for_tensorrt_is_noted(network: nn.Module, context: Context) -> None:
    outcome = Export(formats=("tensorrt",)).run(Candidate(SPEC, network), on(context, JETSON))
    assert any("float32 ships" in render(note) for note in outcome.notes)


def test_without_a_shared_file_it_exports_itself(network: nn.Module, context: Context) -> None:
    outcome = Export().run(Candidate(SPEC, network), dataclasses.replace(context, to_onnx=None))
    assert onnx_files.read_metadata(outcome.candidate.files["onnxruntime"])["classes"] == list(SPEC.classes)


@pytest.mark.parametrize("formats", [(), ("onnx", "caffe")])
def test_formats_are_checked(formats: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="formats"):
        Export(formats=formats)
