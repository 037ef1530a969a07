"""`quantize:` in a recipe: static int8, one ONNX file for each runtime family that the targets have."""

from __future__ import annotations

import math
import platform
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from compress.methods import find
from compress.quantize.settings import Calibration
from compress.record import Quantity, Scorecard, Skip
from compress.stage import Candidate, Context, Form, Outcome, Stage

if TYPE_CHECKING:
    import numpy as np
    from onnx import ModelProto

    from compress.devices import Device

BATCH = 8
FILES = {"onnxruntime": "model.onnx", "openvino": "model.openvino.onnx", "tensorrt": "model.tensorrt.onnx"}
"""File by runtime family, in the stage's folder."""


class Quantize(Stage):
    """Static int8 through ONNX Runtime's quantizer.

    Attributes:
        scheme: `auto` lets each target's runtime say what it wants, which is `int8` for all that are known so far.
        calibration: How activations get their ranges.
        per_channel: One weight scale for each output channel; False for one a tensor.
        keep_float: Globs of ONNX node names that stay in float. Nodes with weights are named as the network's layers.
    """

    accepts: ClassVar[tuple[Form, ...]] = ("torch",)
    produces: ClassVar[Form | Literal["same"]] = "onnx"

    scheme: Literal["auto", "int8"] = "auto"
    calibration: Calibration = Calibration()
    per_channel: bool = True
    keep_float: tuple[str, ...] = ()

    def smoke(self) -> Self:
        """The same with few samples."""
        return self.model_copy(update={"calibration": self.calibration.model_copy(update={"samples": 16})})

    def surroundings(self, targets: tuple[Device, ...]) -> dict[str, Any]:
        """Runtime families, and whether this machine multiplies int8 without saturating."""
        return {"families": list(families(targets)), "reduce_range": saturates()}

    def run(self, candidate: Candidate, context: Context) -> Outcome:
        """Calibrate on training images, write a file for each family, compare with the float network on validation."""
        from compress import graphs
        from compress.quantize import int8, placement
        from compress.quantize.pools import pool_globally

        source = _float_file(candidate, context)
        model = graphs.load(source)
        graphs.check_finite(model)
        pool_globally(model)
        excluded = placement.kept_float(model, self.keep_float)
        wanted = families(context.targets)
        ranges = self._ranges(model, wanted, context)
        files: dict[str, Path] = {}
        skipped: list[Skip] = []
        for family in wanted:
            made = int8.quantize(
                model,
                ranges[family],
                family,
                per_channel=self.per_channel,
                reduce_range=family == "onnxruntime" and saturates(),
                exclude=excluded,
            )
            graphs.describe(made, candidate.spec)
            graphs.check(made)
            files[family] = context.folder / FILES[family]
            graphs.save(made, files[family])
            skipped += [_in_family(skip, family) for skip in int8.left_in_float(made, excluded)]
        results = _compare(source, files["onnxruntime"], context)
        outcome = Candidate(candidate.spec, files=files, lineage=candidate.lineage)
        return Outcome(outcome, results=results, skipped=tuple(skipped), notes=self._notes(wanted, len(skipped)))

    def _ranges(
        self, model: ModelProto, wanted: tuple[str, ...], context: Context
    ) -> dict[str, dict[str, tuple[float, float]]]:
        """Range of each activation, by family: unsigned integers have twice the levels for what is never negative."""
        from compress.quantize import calibrate, placement
        from compress.quantize.samples import choose

        method, percentile = self.calibration.method, self.calibration.percentile
        chosen = choose(context.data.train, self.calibration.samples, classes=len(context.data.spec.classes), seed=context.seed)
        fixed = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
        batches = _parted(chosen, fixed or BATCH)
        names = placement.activations(model, wanted)
        seen = calibrate.observe(model, names, batches, counts=method != "minmax", reporter=context.reporter)
        range_of = find("range", method).load()
        found: dict[str, dict[str, tuple[float, float]]] = {}
        for family in wanted:
            unsigned = placement.PLACEMENTS[family].unsigned
            found[family] = {
                name: range_of(one, levels=256 if unsigned and one.low >= 0 else 128, percentile=percentile)
                for name, one in seen.items()
            }
        return found

    def _notes(self, wanted: tuple[str, ...], skips: int) -> tuple[str, ...]:
        bits = "7-bit weights, because this CPU has no VNNI and saturates with 8" if saturates() else "8-bit weights"
        kinds = {
            "onnxruntime": f"onnxruntime: uint8 activations, {bits}",
            "openvino": f"openvino: uint8 activations, {bits}, rounded only before products, sums and pools; batch 1",
            "tensorrt": "tensorrt: int8 activations around zero, explicit Q/DQ, float biases; made but not run here",
        }
        left = (f"{skips} operators with weights stay in float",) if skips else ()
        return (*(kinds[family] for family in wanted), *left)


def families(targets: tuple[Device, ...]) -> tuple[str, ...]:
    """Runtime families to make files for: of each target's runtime and those to try; `onnxruntime` is always one."""
    named = {name.partition(":")[0] for device in targets for name in (device.runtime, *device.runtimes)}
    return ("onnxruntime", *sorted((named & set(FILES)) - {"onnxruntime"}))


@cache
def saturates(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this CPU adds uint8 × int8 products in 16 bits, which saturate: x86 before VNNI."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:  # no Linux: assume the older kind, whose files are right on both
        return True
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), [])
    return not {"avx512_vnni", "avx_vnni"} & set(flags)


def _float_file(candidate: Candidate, context: Context) -> Path:
    if context.to_onnx is None:
        msg = "a network is quantized from its ONNX file, and this context has no to_onnx"
        raise TypeError(msg)
    return context.to_onnx(candidate)


def _parted(samples: np.ndarray, size: int) -> list[np.ndarray]:
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def _in_family(skip: Skip, family: str) -> Skip:
    return Skip(what=f"{skip.what} ({family})", reason=skip.reason)


def _compare(source: Path, made: Path, context: Context) -> Scorecard:
    """Float against int8 on validation, both under ONNX Runtime."""
    from compress import graphs

    floats, targets = graphs.outputs_of(source, context.data.validation)
    ints, _ = graphs.outputs_of(made, context.data.validation)
    runs = len(targets)

    def metric(outputs: np.ndarray) -> float:
        import torch

        return float(context.task.correct(torch.from_numpy(outputs), torch.from_numpy(targets)).mean())

    where = "ONNX Runtime, validation split"
    error = float(((floats - ints) ** 2).sum())
    signal = float((floats**2).sum())
    results = {
        "agreement": Quantity.measured(float((floats.argmax(1) == ints.argmax(1)).mean()), "fraction", where, runs=runs),
        "accuracy_validation_float": Quantity.measured(metric(floats), "fraction", where, runs=runs),
        "accuracy_validation_int8": Quantity.measured(metric(ints), "fraction", where, runs=runs),
        "size_ratio": Quantity.measured(made.stat().st_size / source.stat().st_size, "1", "int8 file over float file"),
    }
    if error > 0 and signal > 0:
        results["sqnr_db"] = Quantity.measured(10 * math.log10(signal / error), "dB", f"of the logits; {where}", runs=runs)
    return results
