"""`quantize:` in a recipe: one ONNX file for each runtime family that the targets have, judged against its float parent."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from compress.errors import ConversionError
from compress.quantize.settings import Aware, Calibration, Gate, Ladder, Mixed, Scheme
from compress.quantize.targets import FILES, asked, families, here, lacking, no_clock, per_tensor, saturates, symmetric
from compress.record import Skip
from compress.stage import Candidate, Context, Form, Outcome, Stage

if TYPE_CHECKING:
    import numpy as np
    from onnx import ModelProto

    from compress.devices import Device
    from compress.quantize.gate import Judgement
    from compress.quantize.placed import Section
    from compress.quantize.static import Static
    from compress.record import Curve, Quantity

BATCH = 8
FEW = 16
"""Images under which ranges are rough."""
LEAST_OPSET = 13
"""The first in which Q/DQ have a scale for each channel."""
KEPT_FLOAT = "model.float.onnx"


class Quantize(Stage):
    """Quantization of the exported graph, through ONNX Runtime's quantizer and what it lacks.

    Attributes:
        scheme: `auto` lets each target's runtime say what it wants, which is static `int8` for all that are known so far.
            `dynamic_int8` finds ranges at each run, for linear layers; `weight_int8` and `weight_int4` make the file smaller
            and compute in float; `fp16` and `bf16` are for devices that compute with them.
        calibration: How activations get their ranges, for static int8.
        per_channel: One weight scale for each output channel; False for one a tensor.
        symmetric: Zero point of activations is 0, for static int8; None lets each runtime say.
        ladder: What is done to the network before and while weights are rounded, for static int8.
        mixed: Find the layers to leave in float: the fewest, or the most accurate under a budget; None leaves only those of
            `keep_float`.
        recover: Train with fake quantization where Q/DQ pairs stand, the float network being the teacher, for static int8; None
            leaves it at calibration.
        keep_float: Globs of ONNX node names that stay in float. Nodes with weights are named as the network's layers.
        gate: When the quantized network is not worth having on this machine; None asks nothing.
    """

    accepts: ClassVar[tuple[Form, ...]] = ("torch",)
    produces: ClassVar[Form | Literal["same"]] = "onnx"

    scheme: Scheme = "auto"
    calibration: Calibration = Calibration()
    per_channel: bool = True
    symmetric: bool | None = None
    ladder: Ladder = Ladder()
    mixed: Mixed | None = None
    recover: Aware | None = None
    keep_float: tuple[str, ...] = ()
    gate: Gate | None = Field(default=Gate())

    @model_validator(mode="after")
    def _refuse_what_the_scheme_has_not(self) -> Self:
        static = {"calibration": Calibration(), "symmetric": None, "ladder": Ladder(), "mixed": None, "recover": None}
        given = sorted(name for name, default in static.items() if getattr(self, name) != default)
        if self.scheme not in ("auto", "int8") and given:
            msg = f"{', '.join(given)} is for static int8, and scheme is {self.scheme}; leave it out or write scheme: int8"
            raise ValueError(msg)
        if self.recover is not None and (rounding := self.ladder.weights.rounding) != "nearest":
            msg = f"recover trains the weights on, which undoes ladder.weights.rounding: {rounding}; leave one of them out"
            raise ValueError(msg)
        return self

    @property
    def trains(self) -> bool:  # type: ignore[override]  # the other stages always do, or never
        """Every process of a launch takes part where there is something to train."""
        return self.recover is not None

    def smoke(self) -> Self:
        """The same with few samples and steps."""
        changes: dict[str, Any] = {}
        if self.scheme in ("auto", "int8"):
            changes["calibration"] = self.calibration.model_copy(update={"samples": 16})
            weights = self.ladder.weights
            if weights.takes_iterations:
                fewer = weights.model_copy(update={"iterations": min(weights.iterations, 10)})
                changes["ladder"] = self.ladder.model_copy(update={"weights": fewer})
            if self.mixed is not None:
                changes["mixed"] = self.mixed.model_copy(update={"seconds": min(self.mixed.seconds, 2.0)})
            if self.recover is not None:
                changes["recover"] = self.recover.smoke()
        return self.model_copy(update=changes)

    def surroundings(self, targets: tuple[Device, ...]) -> dict[str, Any]:
        """Runtime families, whether this machine multiplies int8 without saturating, and where the gate measures."""
        from compress.devices import fingerprint

        found: dict[str, Any] = {"families": list(families(targets)), "reduce_range": saturates()}
        found |= {"symmetric": symmetric(targets), "per_tensor": per_tensor(targets)}
        timed = self.gate is not None or (self.mixed is not None and self.mixed.latency_ms is not None)
        if timed and (device := here(targets)) is not None:
            found["gate"] = fingerprint(device)
        return found

    def unfit(self, targets: tuple[Device, ...]) -> str | None:
        """A runtime that has not the scheme, or a latency that nothing here can measure."""
        if reason := lacking(self.scheme, asked(targets)):
            return reason
        if self.mixed is not None and self.mixed.latency_ms is not None and here(targets) is None:
            return no_clock(targets)
        return None

    def run(self, candidate: Candidate, context: Context) -> Outcome:
        """Calibrate on training images, write a file for each family, compare with the float network on validation."""
        from compress import graphs
        from compress.environment import is_main
        from compress.quantize import int8, placement, schemes
        from compress.quantize.compare import compare
        from compress.quantize.mixing import mix
        from compress.quantize.recovery import recovered

        scheme = "int8" if self.scheme == "auto" else self.scheme
        wanted = families(context.targets)
        schemes.check_runtimes(scheme, asked(context.targets))
        source = _float_file(candidate, context)
        model = _checked(graphs.load(source))
        excluded = placement.kept_float(model, self.keep_float)
        tables: dict[str, tuple[dict[str, Any], ...]] = {}
        notes: tuple[str, ...] = ()
        skipped: list[Skip] = []
        gained: dict[str, Quantity] = {}
        curves: dict[str, Curve] = {}
        made: dict[str, ModelProto]
        if scheme == "int8":
            static, notes = self._static(model, wanted, excluded, context)
            skipped += static.skipped
            found: tuple[str, ...] = ()
            if self.mixed is not None:
                mixing = mix(self.mixed, static, excluded, candidate.spec, context)
                found, tables["sensitivity"], notes = mixing.floats, mixing.rows, (*notes, mixing.note)
            if self.recover is not None:
                kept = (*excluded, *found)
                learned = recovered(static, kept, self.recover, candidate, context, bits=self._bits())
                if not is_main():
                    return Outcome(candidate)  # it trained along; the first process writes
                static, gained, curves = learned.static, learned.results, learned.curves
                notes, skipped = (*notes, *learned.notes), [*skipped, *learned.skipped]
            made = {family: static.build(family, (*excluded, *found), candidate.spec) for family in wanted}
            left = {name: int8.left_in_float(file, excluded, found) for name, file in made.items()}
            skipped += [_in_family(one, name) for name, every in left.items() for one in every]
            around_zero = symmetric(context.targets) if self.symmetric is None else self.symmetric
            notes = (*notes, *self._notes(wanted, len(left["onnxruntime"]), around_zero))
        else:
            other = schemes.make(scheme, model, wanted, per_channel=self.per_channel, exclude=excluded)
            made, notes = dict(other.models), other.notes
            skipped += other.skipped
            for one in made.values():
                graphs.tidy(one)
                graphs.describe(one, candidate.spec)
        files = {family: context.folder / FILES[family] for family in wanted}
        for family, path in files.items():
            graphs.save(made[family], path)
        results, tables["layer_sqnr"] = compare(source, files["onnxruntime"], context.data.validation, context.task, scheme)
        seen = self._placed(source, files["onnxruntime"], skipped, context)
        results, tables, notes = results | seen.results, tables | seen.tables, (*notes, *seen.notes)
        skipped += seen.skipped
        if (judged := self._judge(source, files, context)) is not None:
            results |= judged.results
            skipped += judged.skipped
            tables["gate"] = judged.rows
            notes = (*notes, judged.note, *self._kept(judged, source, files, context))
        outcome = Candidate(candidate.spec, files=files, lineage=candidate.lineage)
        return Outcome(outcome, results=gained | results, skipped=tuple(skipped), notes=notes, curves=curves, tables=tables)

    def _static(
        self, model: ModelProto, wanted: tuple[str, ...], excluded: tuple[str, ...], context: Context
    ) -> tuple[Static, tuple[str, ...]]:
        from compress.quantize.samples import choose
        from compress.quantize.static import prepare

        chosen = choose(context.data.train, self.calibration.samples, classes=len(context.data.spec.classes), seed=context.seed)
        notes = [f"calibrated by {self.calibration.method} on {len(chosen)} training images, chosen with seed {context.seed}"]
        if len(chosen) < FEW:
            notes.append(f"{len(chosen)} images are few to calibrate on: ranges and biases are rough; give {FEW} or more")
        _refuse_constant(chosen)
        fixed = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
        static = prepare(
            model,
            _parted(chosen, fixed or BATCH),
            wanted,
            self.calibration,
            self.ladder,
            per_channel=self.per_channel and not per_tensor(context.targets),
            symmetric=symmetric(context.targets) if self.symmetric is None else self.symmetric,
            saturating=saturates(),
            exclude=excluded,
            reporter=context.reporter,
        )
        return static, (*notes, *static.notes)

    def _bits(self) -> int:
        """Of weights as they are computed with on this machine."""
        asked = self.ladder.weights.bits
        return min(asked, 7) if saturates() else asked

    def _placed(self, source: Path, made: Path, skipped: list[Skip], context: Context) -> Section:
        """Layer by layer, what ONNX Runtime computes in int8."""
        from compress.quantize.placed import Section, section

        if self.scheme == "bf16":
            return Section(skipped=(Skip(what="what runs in bf16", reason="no runtime on this machine computes in bfloat16"),))
        device = here(context.targets)
        inputs = next(iter(context.data.validation.ordered(device.contract.batch if device else 1))).inputs.numpy()
        seconds = 0.05 if context.smoke else 0.5
        return section(source, made, skipped, inputs, threads=device.threads if device else 1, seconds=seconds)

    def _judge(self, source: Path, files: dict[str, Path], context: Context) -> Judgement | None:
        """The gate's answer on this machine; None where it is not asked or no target is this machine."""
        from compress.quantize.compare import scores_of
        from compress.quantize.gate import Terms, judge

        device = here(context.targets)
        if self.gate is None or device is None or context.smoke:
            return None
        return judge(
            source,
            files,
            (device.runtime, *device.runtimes),
            context.data.validation,
            partial(scores_of, context.task),
            Terms(self.gate.accuracy_drop, self.gate.seconds, device.threads, device.contract.batch),
            clock=context.clock,
            reporter=context.reporter,
        )

    def _kept(self, judged: Judgement, source: Path, files: dict[str, Path], context: Context) -> tuple[str, ...]:
        """Put the float file in the quantized one's place where the verdict says so."""
        from compress.files import write_with

        assert self.gate is not None  # noqa: S101  # there is a judgement
        if judged.passed:
            return ()
        if self.gate.keep == "quantized":
            return ("the quantized network goes on in spite of the gate, as gate.keep asks",)
        path = context.folder / KEPT_FLOAT
        write_with(path, lambda aside: shutil.copyfile(source, aside))
        files["onnxruntime"] = path
        files.pop("openvino", None)
        return ("the float network goes on in place of the quantized one",)

    def _notes(self, wanted: tuple[str, ...], skips: int, around_zero: bool | None) -> tuple[str, ...]:
        bits = "7-bit weights, because this CPU has no VNNI and saturates with 8" if saturates() else "8-bit weights"
        if (asked := self.ladder.weights.bits) < 8:
            bits = f"{asked}-bit weights stored as int8, for want of kernels with fewer bits"
        activations = "int8 activations around zero" if around_zero else "uint8 activations"
        around = "; the input, and all with layer normalisation, int8 around zero" if self.symmetric is None else ""
        kinds = {
            "onnxruntime": f"onnxruntime: {activations}, {bits}",
            "openvino": f"openvino: {activations}{around}, {bits}, rounded only before products, sums and pools; batch 1",
            "tensorrt": "tensorrt: int8 activations around zero, explicit Q/DQ, float biases; made but not run here",
        }
        left = (f"{skips} operators with weights stay in float",) if skips else ()
        return (*(kinds[family] for family in wanted), *left)


def _float_file(candidate: Candidate, context: Context) -> Path:
    if context.to_onnx is None:
        msg = "a network is quantized from its ONNX file, and this context has no to_onnx"
        raise TypeError(msg)
    return context.to_onnx(candidate)


def _parted(samples: np.ndarray, size: int) -> list[np.ndarray]:
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def _in_family(skip: Skip, family: str) -> Skip:
    return Skip(what=f"{skip.what} ({family})", reason=skip.reason)


def _checked(model: ModelProto) -> ModelProto:
    """Refuse what cannot be quantized; spatial means as pools.

    Raises:
        ConversionError: The opset is too old, or weights are not finite.
    """
    from compress import graphs
    from compress.quantize.pools import pool_globally

    opset = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 0)
    if opset < LEAST_OPSET:
        msg = f"the network has ONNX opset {opset}, and quantization needs {LEAST_OPSET} or later; export it again"
        raise ConversionError(msg)
    graphs.check_finite(model)
    pool_globally(model)
    return model


def _refuse_constant(samples: np.ndarray) -> None:
    """Refuse images without content: every range would be that of one value.

    Raises:
        ConversionError: Saying so.
    """
    flat = samples.reshape(len(samples), -1)
    if (flat.max(1) == flat.min(1)).all():
        msg = f"all {len(samples)} calibration images are of one value each; check how the data are read and normalised"
        raise ConversionError(msg)
