"""`labels.json`, `LICENCES.md` and `manifest.json`: what a folder holds, how to feed it, and its hashes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import compress
from compress.backends import onnx_files
from compress.core.atomic_files import sha256, write_text
from compress.core.network_spec import NetworkSpec
from compress.data.decode_image import MODES
from compress.export.licences import LicenceNote, as_text

MANIFEST = "manifest.json"


def write_labels(folder: Path, spec: NetworkSpec) -> None:
    """Class names in the order of the outputs."""
    write_text(folder / "labels.json", json.dumps(list(spec.classes), ensure_ascii=False, indent=0))


def write_licences(folder: Path, notes: Sequence[LicenceNote]) -> None:
    """The licence notes, for people."""
    write_text(folder / "LICENCES.md", as_text(notes))


def write_manifest(folder: Path, spec: NetworkSpec, *, device: str, runtime: str, licences: Sequence[LicenceNote] = ()) -> None:
    """Describe every other file of the folder; written last, so a folder with a manifest is complete.

    Args:
        folder: With `model.onnx` and all other files.
        spec: Input and classes.
        device: Name of the profile.
        runtime: That runs it.
        licences: As in `LICENCES.md`.
    """
    model = onnx_files.load(folder / "model.onnx")
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    manifest = {
        "device": device,
        "runtime": runtime,
        "compress": compress.__version__,
        "model": {
            "file": "model.onnx",
            "format": f"ONNX, operator set {opset}",
            **_engine(folder),
        },
        "run": "python infer.py image.png",
        "input": {
            "name": onnx_files.INPUT,
            "type": "float32",
            "layout": "NCHW",
            "shape": [batch.dim_value or "batch", *spec.shape],
        },
        "output": {"name": onnx_files.OUTPUT, "type": "float32", "shape": [batch.dim_value or "batch", len(spec.classes)]},
        "preprocessing": [
            "first frame, upright by its EXIF orientation",
            f"mode {MODES[spec.channels]}, 8 bits per channel" if spec.channels in MODES else f"{spec.channels} channels",
            _describe_resizing(spec),
            "scale to [0, 1]",
            {"subtract": list(spec.mean), "divide": list(spec.std)},
        ],
        "labels": "labels.json, class names in the order of the outputs",
        "licences": [note._asdict() for note in licences],
        "files": {
            path.name: {"sha256": sha256(path), "bytes": path.stat().st_size}
            for path in sorted(folder.iterdir())
            if path.name != MANIFEST and not path.name.startswith(".")
        },
    }
    write_text(folder / MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=1))


def _describe_resizing(spec: NetworkSpec) -> str:
    size = f"{spec.width}×{spec.height}"
    squash = f"resize to {size}, bilinear, antialiased"
    short = round(max(spec.height, spec.width) * 256 / 224)
    crop = f"resize the shorter side to {short}, take the central {size}, bilinear, antialiased"
    if spec.resize is None:
        return f"{squash}; the resizing of the training data loaders is unknown, compare it with infer.py"
    return {"squash": squash, "center_crop": crop, "center_crop_unless_square": f"square images: {squash}; others: {crop}"}[
        spec.resize
    ]


def _engine(folder: Path) -> dict[str, Any]:
    """How to build the engine, where one must be."""
    if not (folder / "build_engine.sh").exists():
        return {}
    return {"engine": "model.engine", "build": "sh build_engine.sh", "built on": "the device itself, once for each release"}
