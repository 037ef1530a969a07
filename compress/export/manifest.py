"""Write `labels.json`, `LICENCES.md` and `manifest.json` of an artifact folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import onnx

import compress
from compress.backends import onnx_files
from compress.core.atomic_files import sha256, write_text
from compress.core.licence_note import LicenceNote
from compress.core.network_spec import NetworkSpec
from compress.core.signature import BATCH, TensorSpec
from compress.data.decode_image import MODES
from compress.export.infer_script import example_input
from compress.export.licences import as_text

MANIFEST, MODEL = "manifest.json", "model.onnx"
NO_FILES: Mapping[str, NetworkSpec] = MappingProxyType({})


def write_labels(folder: Path, spec: NetworkSpec) -> None:
    """Write `labels.json`: class names in the order of the outputs."""
    write_text(folder / "labels.json", json.dumps(list(spec.classes), ensure_ascii=False, indent=0))


def write_licences(folder: Path, notes: Sequence[LicenceNote]) -> None:
    """Write `LICENCES.md`."""
    write_text(folder / "LICENCES.md", as_text(notes))


def write_manifest(
    folder: Path,
    spec: NetworkSpec,
    *,
    device: str,
    runtime: str,
    licences: Sequence[LicenceNote] = (),
    further: Mapping[str, NetworkSpec] = NO_FILES,
) -> None:
    """Write `manifest.json`: inputs, outputs, preprocessing and hashes. It is written last: a folder with it is complete.

    Args:
        folder: Folder with `model.onnx` and all other files.
        spec: Inputs, outputs and preprocessing.
        device: Name of the device profile.
        runtime: Runtime of the artifact.
        licences: Notes of `LICENCES.md`.
        further: Other forms of the network in the folder: specification by file name.
    """
    model = onnx_files.load(folder / MODEL)
    batch = _fixed_batch(model)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    manifest = {
        "device": device,
        "runtime": runtime,
        "compress": compress.__version__,
        "model": {
            "file": MODEL,
            "format": f"ONNX, opset {opset}",
            **_engine(folder),
        },
        "run": f"python infer.py {example_input(spec)}",
        "inputs": [_describe_tensor(tensor, batch) for tensor in spec.signature.inputs],
        "outputs": [_describe_tensor(tensor, batch) for tensor in spec.signature.outputs],
        "preprocessing": _describe_preprocessing(spec),
        **_describe_further(further, batch),
        "labels": "labels.json, class names in the order of the outputs",
        "licences": [{"what": note.what, "origin": note.origin, "licence": note.licence} for note in licences],
        "files": _sums(folder),
    }
    write_text(folder / MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=1))


def rewrite_manifest(folder: Path, more: Mapping[str, object]) -> None:
    """Add entries to `manifest.json`, and write the sums of all files again, of which some were replaced.

    Args:
        folder: Folder with a manifest.
        more: Further entries.
    """
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest |= {**more, "files": _sums(folder)}
    write_text(folder / MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=1))


def _sums(folder: Path) -> dict[str, dict[str, object]]:
    """SHA-256 sum and size of each file besides the manifest."""
    return {
        path.name: {"sha256": sha256(path), "bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST and not path.name.startswith(".")
    }


def _fixed_batch(model: onnx.ModelProto) -> int | None:
    """Fixed batch size of the file; None if it is free."""
    sizes = model.graph.input[0].type.tensor_type.shape.dim
    return (sizes[0].dim_value or None) if sizes else None


def _describe_further(further: Mapping[str, NetworkSpec], batch: int | None) -> dict[str, object]:
    """Outputs of other forms of the network, whose inputs are the same."""
    each = {name: [_describe_tensor(output, batch) for output in spec.signature.outputs] for name, spec in further.items()}
    return {"other forms": [{"file": name, "outputs": outputs} for name, outputs in each.items()]} if each else {}


def _describe_tensor(spec: TensorSpec, batch: int | None) -> dict[str, object]:
    """Name, type and shape of an input or output; images are in the layout NCHW."""
    shape = [batch if axis == BATCH and batch else axis for axis in spec.shape]
    return {"name": spec.name, "type": spec.dtype, "shape": shape}


def _describe_preprocessing(spec: NetworkSpec) -> list[object]:
    """Preprocessing steps from a file to the input."""
    if spec.image_text is not None:
        towers = (spec.tower("image"), spec.tower("text"))
        return [{", ".join(each.name for each in own.signature.inputs): _describe_preprocessing(own)} for own in towers]
    if (text := spec.text) is not None:
        inputs = ", ".join(tensor.name for tensor in spec.signature.inputs)
        return [
            f"tokenizer.json of the package tokenizers, {'pairs of texts' if text.pairs else 'one text'}",
            f"cut at {text.max_length} tokens",
            f"padded with token {text.pad_id} to the longest text of the batch; attention_mask 0 there",
            f"int64 (batch, sequence): {inputs}",
        ]
    if (audio := spec.audio) is not None:
        return [
            "all samples of an audio file that libsndfile reads, in [-1, 1]",
            "mean of the channels that are not silent",
            f"resampled to {audio.rate} Hz by scipy.signal.resample_poly",
            "attention_mask 1 for samples of the clip, 0 after its end in a batch",
        ]
    if not spec.takes_images:
        return ["arrays by the names of the inputs"]
    return [
        "first frame, upright by its EXIF orientation",
        f"mode {MODES[spec.channels]}, 8 bits per channel" if spec.channels in MODES else f"{spec.channels} channels",
        _describe_resizing(spec),
        "scale to [0, 1]",
        {"subtract": list(spec.mean), "divide": list(spec.std)},
        "layout NCHW",
    ]


def _describe_resizing(spec: NetworkSpec) -> str:
    size = f"{spec.width}×{spec.height}"
    squash = f"resize to {size}, bilinear, antialiased"
    covered = "×".join(str(round(side * 256 / 224)) for side in (spec.width, spec.height))
    crop = f"resize to cover {covered}, aspect ratio kept, take the central {size}, bilinear, antialiased"
    if spec.resize is None:
        return f"{squash}; the resizing in training is unknown, compare it with infer.py"
    return {
        "squash": squash,
        "center_crop": crop,
        "center_crop_unless_square": f"images of the ratio {size}: {squash}; others: {crop}",
    }[spec.resize]


def _engine(folder: Path) -> dict[str, object]:
    """How to build the engine; empty if the artifact needs none."""
    if not (folder / "build_engine.sh").exists():
        return {}
    return {"engine": "model.engine", "build": "sh build_engine.sh", "built on": "the device, once for each release"}
