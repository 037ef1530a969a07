"""`compress quantize-report`: layers of a quantized network that run in int8, with the times before and after."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from compress.backends.check_file import check_onnx_file
from compress.core.checksums import CHECKSUMS, changed_files
from compress.core.errors import ConversionError, StoreError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.record import Metrics, StageRecord
from compress.core.run_directory import RECORD, STAGE_FOLDERS
from compress.core.sentences import render
from compress.pipeline.stage_output import CandidateManifest, read_manifest
from compress.profile.layers.tables import Rows
from compress.quantize.analysis.layer_report import compare_layers, known_reasons
from compress.quantize.target_requirements import MODEL_FILES

ACCEPTANCE = "quantize.acceptance"
FILE = MODEL_FILES["onnxruntime"]


@dataclass(frozen=True)
class QuantizeReport:
    """Layers of a quantized network, with the number format of each.

    Attributes:
        quantized: The file.
        parent: The float file before quantization.
        layers: A row for each layer, in order: `module`, `nodes`, `operators`, `runs_in`, `before_ms`, `after_ms`,
            `conversions_ms`, `why`; times are quantities as JSON.
        conversions: A row for each float region with conversions around it, the most expensive first: `around`, `isolated`,
            `quantize`, `dequantize`, `conversions_ms`, `operators_ms`, `why`.
        results: Sums of kernel times.
        notes: Sentences.
    """

    quantized: Path
    parent: Path
    layers: Rows
    conversions: Rows
    results: Metrics
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """Plain JSON."""
        results = {name: quantity.model_dump(mode="json") for name, quantity in self.results.items()}
        files = {"quantized": str(self.quantized), "float": str(self.parent)}
        return {**files, "layers": self.layers, "conversions": self.conversions, "results": results, "notes": self.notes}


def quantize_report(
    quantized: str | Path, parent: str | Path | None = None, *, threads: int = 1, seconds: float = 2.0
) -> QuantizeReport:
    """Report which layers run in int8 after optimization by ONNX Runtime on this machine, why others do not, and their times.

    Args:
        quantized: A quantized ONNX file, or a run directory, of which the last `quantize` stage is used.
        parent: The float file that it was made from; found by itself for a run directory or a file of one.
        threads: Threads of an operator.
        seconds: Approximate measuring time of each file.

    Raises:
        ConversionError: A file is not ONNX, not quantized, or not from the float file; or the float file is unknown.
        StoreError: The directory has no finished `quantize` stage, or no float file of it.
        DeviceError: The input shapes of the files are unknown.
    """
    path = Path(quantized)
    known: dict[str, Fact] = {}
    notes: tuple[str, ...] = ()
    if not path.exists():
        msg = gettext(
            "{path} does not exist; use a quantized ONNX file, or a run directory such as reports/NAME/HASH", path=path
        )
        raise ConversionError(msg)
    if path.is_dir() or (parent is None and _stage(path.parent) is not None):
        folder = path if path.is_dir() else path.parent
        record, folder = _quantize_of(folder)
        if (folder / CHECKSUMS).exists() and (changed := changed_files(folder)):
            raise StoreError(
                gettext(
                    "{folder}: {changed} changed after it was written; run the recipe again",
                    folder=folder,
                    changed=", ".join(changed),
                )
            )
        path = path if path.is_file() else folder / FILE
        parent = parent or _parent_of(folder)
        known, notes = known_reasons(record.skipped), tuple(render(note) for note in record.notes if note.code == ACCEPTANCE)
    if parent is None:
        msg = gettext(
            "the float file of {path} is unknown; name it with --float FLOAT.onnx, or use the run directory", path=path
        )
        raise ConversionError(msg)
    for file in (Path(parent), path):
        check_onnx_file(file)
    coverage, totals = compare_layers(Path(parent), path, known=known, threads=threads, seconds=seconds)
    return QuantizeReport(
        path, Path(parent), coverage.layers, coverage.conversions, coverage.results,
        (render(coverage.note), *notes, *map(render, totals)),
    )  # fmt: skip


def _stage(folder: Path) -> StageRecord | None:
    """The record of a finished `quantize` stage in this folder, or None."""
    try:
        record = StageRecord.model_validate_json((folder / RECORD).read_bytes())
    except (OSError, ValidationError):
        return None
    return record if (folder / FILE).is_file() and record.form == "onnx" and "scheme" in record.parameters else None


def _quantize_of(folder: Path) -> tuple[StageRecord, Path]:
    """The last finished `quantize` stage of a run directory, or the stage of a stage folder."""
    own = _stage(folder)
    if own is not None:
        return own, folder
    finished = [(record, path) for path in _stages(folder) if (record := _stage(path)) is not None]
    if not finished:
        msg = gettext(
            "{folder} has no finished quantize stage; use a run directory such as reports/NAME/HASH of a recipe with one",
            folder=folder,
        )
        raise StoreError(msg)
    return finished[-1]


def _stages(run: Path) -> list[Path]:
    """Folders of finished stages, in order."""
    return sorted(path for path in run.glob(STAGE_FOLDERS) if (path / RECORD).is_file())


def _parent_of(folder: Path) -> Path:
    """The float file of the last torch network before a stage."""
    for earlier in reversed(
        [path for path in _stages(folder.parent) if path.name < folder.name and "teacher" not in path.name]
    ):
        manifest = _manifest(earlier)
        name = None if manifest is None else manifest.get("files", {}).get("onnxruntime")
        if manifest is not None and manifest.get("form") == "torch" and name:
            return earlier / str(name)
    msg = gettext(
        "the float file that {folder} was made from is not in {parent}; name it with --float FLOAT.onnx",
        folder=folder / FILE,
        parent=folder.parent,
    )
    raise StoreError(msg)


def _manifest(folder: Path) -> CandidateManifest | None:
    try:
        return read_manifest(folder)
    except (OSError, ValueError):
        return None
