from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from compress.core.licence_note import LicenceNote
from compress.core.stage import Candidate, Context
from compress.export.manifest import write_labels, write_licences, write_manifest
from compress.export.stage import Export
from tests.export.tiny import SPEC


def manifest_of(folder: Path, exported: Path, **settings: Any) -> dict[str, Any]:
    shutil.copy(exported, folder / "model.onnx")
    write_manifest(folder, SPEC, device="phone", runtime="onnxruntime", **settings)
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("script", [False, True])
def test_an_engine_is_described_where_a_script_builds_one(exported: Path, tmp_path: Path, script: bool) -> None:
    if script:
        (tmp_path / "build_engine.sh").write_text("trtexec")
    model = manifest_of(tmp_path, exported)["model"]
    assert model.get("engine") == ("model.engine" if script else None)
    assert model.get("build") == ("sh build_engine.sh" if script else None)


def test_hidden_files_and_the_manifest_itself_are_not_listed(exported: Path, tmp_path: Path) -> None:
    (tmp_path / ".partial").write_text("x")
    (tmp_path / "manifest.json").write_text("old")
    manifest = manifest_of(tmp_path, exported)
    assert set(manifest["files"]) == {"model.onnx"}
    assert (manifest["device"], manifest["runtime"]) == ("phone", "onnxruntime")


def test_labels_are_in_the_order_of_the_outputs_and_readable(tmp_path: Path) -> None:
    write_labels(tmp_path, SPEC)
    text = (tmp_path / "labels.json").read_text(encoding="utf-8")
    assert json.loads(text) == list(SPEC.classes)
    assert "zéro" in text


def test_licence_notes_are_the_same_for_people_and_programs(exported: Path, tmp_path: Path) -> None:
    note = LicenceNote(what="value 0", origin="value 1", licence="value 2")
    write_licences(tmp_path, [note])
    assert "value 0" in (tmp_path / "LICENCES.md").read_text(encoding="utf-8")
    assert manifest_of(tmp_path, exported, licences=[note])["licences"] == [note.model_dump(exclude={"must_check"})]


def test_manifest_hashes_match_and_describe_the_input(network: nn.Module, context: Context) -> None:
    Export().run(Candidate(SPEC, network), context)
    folder = context.folder / "artifacts" / "host"
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert set(manifest["files"]) == {"model.onnx", "labels.json", "infer.py", "LICENCES.md"}
    assert manifest["model"] == {"file": "model.onnx", "format": "ONNX, opset 18"}
    assert {note["what"] for note in manifest["licences"]} >= {"training data", "infer.py, build_engine.sh"}
    for name, entry in manifest["files"].items():
        content = (folder / name).read_bytes()
        assert entry == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    assert manifest["inputs"] == [{"name": "input", "type": "float32", "shape": ["batch", 3, 16, 12]}]
    assert manifest["outputs"] == [{"name": "logits", "type": "float32", "shape": ["batch", 4]}]
    assert manifest["preprocessing"][-2:] == [{"subtract": [0.1, 0.2, 0.3], "divide": [0.5, 0.6, 0.7]}, "layout NCHW"]
    assert json.loads((folder / "labels.json").read_text(encoding="utf-8")) == list(SPEC.classes)
