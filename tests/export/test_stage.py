from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch import nn

from compress.backends import onnx_files
from compress.backends.export_onnx import export_onnx
from compress.core.errors import ConversionError
from compress.core.sentences import render, render_subject
from compress.core.stage import Candidate, Context
from compress.export.stage import Export
from compress.quantize.stage import Quantize
from tests.export.tiny import SPEC, Target

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


def test_manifest_hashes_match_and_describe_the_input(network: nn.Module, context: Context) -> None:
    Export().run(Candidate(SPEC, network), context)
    folder = context.folder / "artifacts" / "host"
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert set(manifest["files"]) == {"model.onnx", "labels.json", "infer.py", "LICENCES.md"}
    assert manifest["model"] == {"file": "model.onnx", "format": "ONNX, operator set 18"}
    assert {each["what"] for each in manifest["licences"]} >= {"training data", "infer.py, build_engine.sh"}
    for name, entry in manifest["files"].items():
        content = (folder / name).read_bytes()
        assert entry == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    assert manifest["input"]["shape"] == ["batch", 3, 16, 12]
    assert manifest["output"]["shape"] == ["batch", 4]
    assert manifest["preprocessing"][-1] == {"subtract": [0.1, 0.2, 0.3], "divide": [0.5, 0.6, 0.7]}
    assert json.loads((folder / "labels.json").read_text(encoding="utf-8")) == list(SPEC.classes)


def image(folder: Path, size: tuple[int, int]) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3)).astype(np.uint8)
    path = folder / "image.png"
    Image.fromarray(pixels).save(path)
    return path


def infer(folder: Path, path: Path) -> list[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-I", str(folder / "infer.py"), str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment | {"PYTHONUTF8": "1"}, cwd="/")
    return found.stdout.splitlines()


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


def test_all_links_of_the_chain_are_compared(network: nn.Module, context: Context, exported: Path) -> None:
    context = dataclasses.replace(on(context, HOST, JETSON), float_file=exported, load_float_network=lambda: network)
    quantized = Quantize(calibration={"method": "minmax"}).run(Candidate(SPEC, network), context).candidate
    outcome = Export(formats=("onnx", "tensorrt")).run(quantized, context)
    rows = outcome.tables["parity"]
    assert [row["pair"] for row in rows] == [
        "torch",
        "torch → ONNX float32",
        "ONNX float32 → ONNX int8 as written",
        "ONNX float32 → ONNX int8 for tensorrt, as written",
        "ONNX int8 as written → fused kernels",
        "ONNX → TensorRT engine",
    ]
    assert rows[1]["max_abs"] < 1e-4 < rows[2]["max_abs"]
    assert all(row["top1"] > 0.9 and row["accuracy"] > 0.7 for row in rows[1:5])
    assert "not measured" in rows[5]["limit"]


def test_int8_that_answers_otherwise_is_refused_with_the_first_node(
    network: nn.Module, context: Context, exported: Path, tmp_path: Path
) -> None:
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.get_parameter("wide.weight").neg_()
    export_onnx(other, SPEC, tmp_path / "other.onnx")
    broken = dataclasses.replace(context, to_onnx=lambda _: tmp_path / "other.onnx")
    quantized = Quantize(calibration={"method": "minmax"}).run(Candidate(SPEC, other), broken).candidate
    context = dataclasses.replace(context, float_file=exported, load_float_network=lambda: network)
    with pytest.raises(ConversionError, match=r"ONNX float32 against ONNX int8 .* allowed is 90.0% .* begins at node 'wide'"):
        Export(tolerance={"top1": 0.9}).run(quantized, context)


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
    compared = next(row for row in outcome.tables["parity"] if row["pair"] == "ONNX float32 → ONNX int8 as written")
    assert compared["top1"] > 0.9


def test_float_for_tensorrt_is_noted(network: nn.Module, context: Context) -> None:
    outcome = Export(formats=("tensorrt",)).run(Candidate(SPEC, network), on(context, JETSON))
    assert any("float32 ships" in render(note) for note in outcome.notes)


def test_export_that_computes_something_else_is_refused(network: nn.Module, context: Context, tmp_path: Path) -> None:
    model = onnx.load(context.to_onnx(Candidate(SPEC, network)))
    tensor = next(one for one in model.graph.initializer if one.name == "head.weight")
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 1.01, tensor.name))
    onnx.save(model, tmp_path / "other.onnx")
    wrong = dataclasses.replace(context, to_onnx=lambda _: tmp_path / "other.onnx")
    with pytest.raises(ConversionError, match=r"torch against its ONNX export.* begins at node 'head'"):
        Export().run(Candidate(SPEC, network), wrong)
    assert not (context.folder / "artifacts").exists()
    Export(tolerance={"relative": 0.1}).run(Candidate(SPEC, network), wrong)


def test_without_a_shared_file_it_exports_itself(network: nn.Module, context: Context) -> None:
    outcome = Export().run(Candidate(SPEC, network), dataclasses.replace(context, to_onnx=None))
    assert onnx_files.read_metadata(outcome.candidate.files["onnxruntime"])["classes"] == list(SPEC.classes)


@pytest.mark.parametrize("formats", [(), ("onnx", "coreml")])
def test_formats_are_checked(formats: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="formats"):
        Export(formats=formats)
