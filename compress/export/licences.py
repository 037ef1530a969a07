"""`LICENCES.md` of an artifact folder: origin and licence of its contents, in English as all generated files."""

from __future__ import annotations

from collections.abc import Iterable

import compress
from compress.core.language import in_language
from compress.core.licence_note import LicenceNote
from compress.core.record import StageRecord
from compress.models.licences import data_notes, network_notes, package_licence

RUNTIMES = {
    **{name: (name, "numpy", "pillow") for name in ("onnxruntime", "openvino", "tensorrt", "ncnn", "mnn")},
    "ort": ("onnxruntime", "numpy", "pillow"),
    "coreml": ("coremltools", "numpy", "pillow"),
    "litert": ("ai-edge-litert", "numpy", "pillow"),
    "executorch": ("executorch", "torch", "numpy", "pillow"),
    "inductor": ("torch", "numpy", "pillow"),
}
"""Packages that `infer.py` imports, by runtime."""


def artifact_notes(runtime: str, data_source: str, earlier: Iterable[StageRecord]) -> tuple[LicenceNote, ...]:
    """All notes of one folder.

    Args:
        runtime: Runtime of the artifact.
        data_source: Data source of the recipe.
        earlier: Records of the stages before export, those of the teachers first.
    """
    records = tuple(earlier)
    with in_language("en"):
        own = LicenceNote(
            what="infer.py, build_engine.sh", origin=f"compress {compress.__version__}", licence=package_licence("compress")
        )
        packages = [
            LicenceNote(
                what=f"package {package}, needed by infer.py, not in this folder",
                origin="PyPI",
                licence=package_licence(package),
            )
            for package in RUNTIMES.get(runtime, ())
        ]
        return (own, *network_notes(records), *data_notes(records, {"source": data_source}), *packages)


def as_text(notes: Iterable[LicenceNote]) -> str:
    """The notes as a Markdown page."""
    rows = "\n".join(
        f"| {' | '.join(field.replace('|', '/') for field in (note.what, note.origin, note.licence))} |" for note in notes
    )
    header = "| what | from | licence |\n| --- | --- | --- |"
    return (
        "# Licence notes\n\nOrigins and licences of the contents of this folder, as far as compress knows them. This is\n"
        f"neither legal advice nor complete: check the marked entries before you ship the model.\n\n{header}\n{rows}\n"
    )
