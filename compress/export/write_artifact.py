"""The folder of one device: the format's own files, labels, threshold, licence notes, and last the manifest over all."""

from __future__ import annotations

from pathlib import Path

from compress.core.atomic_files import write_bytes
from compress.core.entries import Row
from compress.core.fact import Fact
from compress.core.network_spec import NetworkSpec
from compress.core.registry import lookup
from compress.core.stage import Candidate, Context
from compress.export.alarm_threshold import write_threshold
from compress.export.graph_with_postprocessing import compare_with_outside, file_name, write_graph
from compress.export.licences import artifact_notes
from compress.export.manifest import MODEL, write_labels, write_licences, write_manifest
from compress.export.settings import ExportTarget, Placement
from compress.tasks.operating_point import HasOperatingPoint


def write_artifact(
    target: ExportTarget,
    candidate: Candidate,
    folder: Path,
    context: Context,
    placement: Placement | None = None,
) -> tuple[Path | None, tuple[Fact, ...]]:
    """Write a device's folder.

    Args:
        target: The device.
        candidate: ONNX files of the network.
        folder: The device's folder.
        context: Task, data, records of earlier stages.
        placement: Of the task's post-processing, where it has any; None for both.

    Returns:
        The file whose graph ends in the post-processing, where one was written, and notes.

    Raises:
        ConversionError: The graph with post-processing is not valid.
    """
    post = context.task.postprocessing
    source, spec = candidate.file_for(target.runtime), candidate.spec
    licences = artifact_notes(target.family, context.data.source, context.previous_records)
    folder.mkdir(parents=True, exist_ok=True)
    lookup("format", str(target.format)).load()(
        source, folder, spec, runtime=target.runtime, release=target.release, code=context.task.infer_code
    )
    inside: Path | None = None
    notes: tuple[Fact, ...] = ()
    further: dict[str, NetworkSpec] = {}
    if post is not None and placement != "outside":
        if target.family == "tensorrt":
            notes = (Fact.of("export.postprocessing_outside", target.name, runtime=target.runtime, name=post.name),)
        else:
            inside = folder / (MODEL if placement == "graph" else file_name(post))
            results = write_graph(source, inside, spec, post)
            spec, further = (results, {}) if placement == "graph" else (spec, {inside.name: results})
    write_labels(folder, spec)
    if isinstance(context.task, HasOperatingPoint):
        write_threshold(folder, source, candidate.file_for("onnxruntime"), context)
    for name, contents in context.data.files.items():
        write_bytes(folder / name, contents)
    write_licences(folder, licences)
    write_manifest(folder, spec, device=target.name, runtime=target.runtime, licences=licences, further=further)
    return inside, notes


class ArtifactComparisons:
    """Compares each file whose graph ends in the post-processing with the network that it was made of, once for each network.

    Args:
        context: Task and data.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._done: set[Path] = set()

    def rows(self, source: Path, inside: Path | None, spec: NetworkSpec) -> list[Row]:
        """Rows of the table `parity`; none where there is no such file, or its network was compared before.

        Raises:
            ConversionError: The results differ.
        """
        post = self.context.task.postprocessing
        if post is None or inside is None or source in self._done:
            return []
        self._done.add(source)
        return compare_with_outside(source, inside, spec, self.context, post)
