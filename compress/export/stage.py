"""The `export` stage: write one artifact folder per device, and compare its outputs with those of the network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from compress.core.entries import Tables
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.record import Metrics
from compress.core.registry_field import RegistryName
from compress.core.stage import Candidate, Context, Form, OnnxOptions, Outcome, Stage
from compress.data.text.settings import DECODER_IDS
from compress.export.settings import DecoderExport, ExportTarget, Placement, Tolerance

if TYPE_CHECKING:
    from compress.config.devices import Device
    from compress.export.parity import ParityTable
    from compress.export.runtime_per_device import RuntimeChoices
    from compress.tasks.capability import Capability

OLDEST_OPSET, NEWEST_OPSET = 18, 23
"""Range of ONNX opsets that torch's exporter writes."""


class Export(Stage):
    """Write `artifacts/<device>/` for each device, and compare outputs.

    If the profile of this machine names several runtimes, each is timed with its file, and the artifact is for the fastest
    whose outputs agree with the default.

    Attributes:
        formats: File formats to write; a device whose runtime needs another format is skipped, with the reason.
        opset: ONNX opset of every file of the run; by default 18, or the first later opset with all operators.
        tolerance: Largest differences of torch, ONNX float32, ONNX int8 and fused kernels; that of torch and ONNX float32
            applies to every export of the run.
        decoder: The file of a network that continues texts, or writes responses, see `DecoderExport`.
        postprocessing: For tasks with post-processing, such as the non-maximum suppression of detectors: `outside` ships the
            network alone, `graph` a file whose graph ends in it, `both` that file beside the network; None for both where the
            task has any.
    """

    accepts: ClassVar[tuple[Form, ...]] = ("torch", "onnx")
    produces: ClassVar[Form | Literal["same"]] = "onnx"

    formats: tuple[Annotated[str, RegistryName("format")], ...] = Field(default=("onnx",), min_length=1)
    opset: int | None = Field(default=None, ge=OLDEST_OPSET, le=NEWEST_OPSET)
    tolerance: Tolerance = Tolerance()
    decoder: DecoderExport = DecoderExport()
    postprocessing: Placement | None = None

    @property
    def requirements(self) -> Mapping[str, tuple[Capability, ...]]:
        """What a placement of post-processing and the settings of decoders need."""
        needs: dict[str, tuple[Capability, ...]] = (
            {} if self.postprocessing is None else {"postprocessing": ("postprocessing",)}
        )
        return needs if self.decoder == DecoderExport() else needs | {"decoder": ("writes_text",)}

    @property
    def onnx_options(self) -> OnnxOptions:
        """Options for all exports of torch networks in the run."""
        return OnnxOptions(self.opset, self.tolerance.relative, self.tolerance.absolute)

    def cache_inputs(self, targets: tuple[Device, ...]) -> dict[str, object]:
        """Artifacts by device; for profiles of this machine with several runtimes the fingerprint, because they are timed."""
        from compress.config.devices import fingerprint

        return {
            device.name: fingerprint(device)
            if device.connection == "local" and device.runtimes
            else " ".join(filter(None, (device.runtime, device.runtime_release)))
            for device in targets
        }

    def run(self, candidate: Candidate, context: Context) -> Outcome:
        """Export, compare on validation, then write one folder per device."""
        from compress.export.decoder_artifact import DecoderArtifacts
        from compress.export.encoder_decoder_artifact import EncoderDecoderArtifacts
        from compress.export.example_figure import save_examples
        from compress.export.parity import ParityTable
        from compress.export.parity_chain import compare_engine, compare_runtime
        from compress.export.streaming_artifact import write_streaming
        from compress.export.tower_artifact import TowerArtifacts
        from compress.export.visual_artifact import VisualArtifacts
        from compress.export.write_artifact import ArtifactComparisons, write_artifact

        pairs = ParityTable(context.task)
        outcome, results = self._compare(candidate, context, pairs)
        choices = self._choose_runtimes(outcome, context)
        if choices.runtimes:
            from compress.export.runtime_per_device import with_runtimes

            outcome = with_runtimes(outcome, choices.runtimes, context.folder)
        skipped: list[Fact] = list(choices.skipped)
        notes: list[Fact] = list(choices.notes)
        targets = _targets(context, choices.runtimes)
        comparisons = ArtifactComparisons(context)
        decoders = DecoderArtifacts(context, self.decoder, self.tolerance, pairs)
        parts = EncoderDecoderArtifacts(context, self.decoder, self.tolerance, pairs)
        towers = TowerArtifacts(context, self.tolerance, pairs)
        visual = VisualArtifacts(context, self.tolerance, pairs)
        for target in targets:
            if reason := self._refusal(target, outcome):
                skipped.append(Fact.of("export.artifact_refused", target.name, reason=reason))
                continue
            folder = context.folder / "artifacts" / target.name
            inside, kept_outside = write_artifact(target, outcome, folder, context, self.postprocessing)
            pairs.rows += comparisons.rows(outcome.file_for(target.runtime), inside, outcome.spec)
            notes += (*kept_outside, *write_streaming(outcome, folder, context))
            if any(each.name == DECODER_IDS for each in outcome.spec.signature.inputs):
                notes += parts.write(target, outcome, folder)
            elif outcome.spec.image_text is not None:
                apart = visual if outcome.spec.image_text.writes else towers
                notes += apart.write(target, outcome, folder)
            elif "writes_text" in context.task.capabilities and self.decoder.cache:
                notes += decoders.write(target, outcome, folder)
            if target.family not in outcome.files and "onnxruntime" in outcome.files:
                notes.append(_other_file_note(target, candidate))
        engines = [target for target in targets if target.family == "tensorrt" and not self._refusal(target, outcome)]
        if engines:
            compare_engine(outcome.file_for("tensorrt"), context, pairs)
        for runtime in dict.fromkeys(name for name in choices.runtimes.values() if name not in ("onnxruntime", "tensorrt")):
            compare_runtime(runtime, outcome.file_for(runtime), context, pairs)
        notes += _ship_network(candidate, context)
        save_examples(outcome, context)
        rows = {"parity": pairs.rows, "towers": towers.rows + visual.rows, "runtimes": choices.rows}
        tables: Tables = {name: tuple(each) for name, each in rows.items() if each or name == "parity"}
        return Outcome(outcome, results=results, skipped=tuple(skipped), notes=tuple(notes), tables=tables)

    def _choose_runtimes(self, candidate: Candidate, context: Context) -> RuntimeChoices:
        """Choose a runtime for each profile of this machine that names several."""
        from compress.export.runtime_per_device import RuntimeChoices

        choices = RuntimeChoices()
        for device in context.targets:
            if device.connection == "local" and device.runtimes:
                targets = [ExportTarget(device.name, name) for name in (device.runtime, *device.runtimes)]
                refusals = {target.runtime: reason for target in targets if (reason := self._refusal(target, candidate))}
                choices.add(device, candidate, context, refusals)
        return choices

    def _compare(self, candidate: Candidate, context: Context, pairs: ParityTable) -> tuple[Candidate, Metrics]:
        from compress.export.parity_chain import compare_float, compare_int8

        if candidate.module is None:
            detail = gettext("unfused against fused kernels of ONNX Runtime, validation split")
            return candidate, compare_int8(candidate, context, self.tolerance, pairs).quantities(detail)
        path = _export_float(candidate, context)
        parity = compare_float(candidate, path, context, self.tolerance, pairs)
        outcome = Candidate(candidate.spec, files={"onnxruntime": path}, lineage=candidate.lineage)
        return outcome, parity.quantities(gettext("torch against ONNX Runtime, validation split"))

    def _refusal(self, target: ExportTarget, candidate: Candidate) -> str | None:
        from compress.export.tensorrt_build_script import unsupported_reason

        needed_format = target.format
        if needed_format is None:
            return gettext("no format is known for its runtime {runtime!r}", runtime=target.runtime)
        if needed_format not in self.formats:
            return gettext(
                "its runtime {runtime!r} needs the format {needed_format!r}, but formats is {formats}",
                runtime=target.runtime,
                needed_format=needed_format,
                formats=list(self.formats),
            )
        if needed_format == "tensorrt" and (reason := unsupported_reason(candidate.file_for(target.runtime))):
            return reason
        return None


def _ship_network(candidate: Candidate, context: Context) -> tuple[Fact, ...]:
    """Copy the last torch network of the chain for further training or export; notes on its program and its other form."""
    from compress.backends.export_program import export_program
    from compress.core.run_directory import SHIPPED_NETWORK
    from compress.models.saved_network import DESCRIPTION, PROGRAM, copy_network, read_description
    from compress.models.text.hugging_face_folder import FOLDER, may_be_transformers, write_folder

    source, folder, load = context.torch_folder, context.folder / SHIPPED_NETWORK, context.load_float_network
    if source is None or load is None or not (source / DESCRIPTION).is_file():
        return ()
    copy_network(source, folder)
    has_program, is_hugging = (folder / PROGRAM).exists(), may_be_transformers(read_description(source))
    if has_program and not is_hugging:
        return ()
    module = candidate.module if candidate.module is not None else load()
    notes = () if has_program else export_program(module, candidate.spec, folder / PROGRAM)
    if is_hugging:
        notes += write_folder(module, candidate.spec, folder / FOLDER, getattr(context.data, "files", {}))
    return notes


def _export_float(candidate: Candidate, context: Context) -> Path:
    """Export the network to the folder of the stage, or copy its existing export."""
    from compress.backends import onnx_files
    from compress.backends.export_onnx import export_onnx

    path = context.folder / "model.onnx"
    if context.to_onnx is None:
        export_onnx(candidate.network(), candidate.spec, path, split=context.data.validation, options=context.onnx)
    else:
        source = context.to_onnx(candidate)
        if source != path:
            onnx_files.copy(source, path)
    return path


def _targets(context: Context, runtimes: dict[str, str]) -> tuple[ExportTarget, ...]:
    targets = tuple(
        ExportTarget(device.name, runtimes.get(device.name, device.runtime), device.runtime_release)
        for device in context.targets
    )
    return targets or (ExportTarget("host", "onnxruntime"),)


def _other_file_note(target: ExportTarget, candidate: Candidate) -> Fact:
    """Fact on the file that ships for a runtime without its own file."""
    from compress.backends.converted.convert import converter_of, target_name

    if converter_of(target.family) is not None:
        file = target_name(target.family)
        return Fact.of("export.converted_file_ships", target.name, runtime=target.runtime, file=file)
    if candidate.module is not None or target.family == "tensorrt":
        return Fact.of("export.float_file_ships", target.name, runtime=target.runtime)
    return Fact.of("export.onnx_file_ships", target.name, runtime=target.runtime)
