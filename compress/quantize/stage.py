"""The `quantize` stage: one quantized ONNX file for each runtime of the targets, compared with its float parent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from compress.core.language import gettext
from compress.core.registry import lookup
from compress.core.stage import Candidate, Context, Form, Outcome, Stage
from compress.quantize.settings import (
    AcceptanceSettings,
    CalibrationSettings,
    MixedPrecisionSettings,
    PTQSettings,
    QATSettings,
    ServingMix,
    WeightOnlySettings,
)
from compress.quantize.target_requirements import (
    BLOCK_BITS,
    Scheme,
    latency_unavailable,
    local_device,
    per_tensor_weights,
    runtimes_to_build,
    seven_bit_weights,
    symmetric_activations,
    target_runtimes,
    unsupported_scheme_reason,
)

if TYPE_CHECKING:
    from compress.config.devices import Device
    from compress.tasks.capability import Capability

_SCHEMES_OF: Mapping[str, tuple[Scheme, ...]] = {
    "ptq.smooth": ("dynamic_int8",),
    "mixed": ("dynamic_int8", "weight_int4"),
    "recover": ("weight_int4", "block_int8"),
}
"""Schemes, besides static int8, that have an option of it."""


class Quantize(Stage):
    """Quantize the exported network.

    Attributes:
        scheme: `auto` selects static `int8`; for a network with free axes, such as a sequence length, on this machine it
            tries `dynamic_int8`, `int8` with SmoothQuant and `weight_int4`, and takes the fastest that keeps the metric.
            `dynamic_int8` computes ranges of linear layers at each run; `weight_int8` reduces the file size and computes in
            float; `weight_int4` and `block_int8` store linear layers in blocks of 4 or 8 bits; `fp16` and `bf16` are for
            devices that support them.
        calibration: How the ranges of activations are estimated, for static int8.
        per_channel: One weight scale per output channel; False for one per tensor.
        symmetric: Zero point of activations is 0, for static int8; None selects what each runtime prefers.
        ptq: Passes over the float network, and how its weights are rounded, for static int8; `smooth` for `dynamic_int8`, too.
        mixed: Search for layers to keep in float, for static and dynamic int8, or in 8 bits, for `weight_int4`; None keeps only
            those of `keep_float`.
        recover: Quantization-aware training with the float network as teacher, for static int8, `weight_int4` and `block_int8`;
            None does not train.
        weight_only: Blocks of integer weights, for `weight_int4` and `block_int8`.
        keep_float: Globs of names of ONNX nodes that stay in float. Nodes with weights have the names of the network's layers.
        serving: Tokens of prompt and answer of a typical request, for networks that write texts: `auto` and the acceptance
            test judge the speed by its time. None is 128 and 128.
        accept_if: Acceptance test of the quantized network if a target is this machine; null accepts it without a test.
    """

    accepts: ClassVar[tuple[Form, ...]] = ("torch",)
    takes_given_file: ClassVar[bool] = True
    produces: ClassVar[Form | Literal["same"]] = "onnx"
    reads_budget: ClassVar[bool] = True
    compresses: ClassVar[bool] = True

    scheme: Scheme = "auto"
    calibration: CalibrationSettings = CalibrationSettings()
    per_channel: bool = True
    symmetric: bool | None = None
    ptq: PTQSettings = PTQSettings()
    mixed: MixedPrecisionSettings | None = None
    recover: QATSettings | None = None
    weight_only: WeightOnlySettings = WeightOnlySettings()
    keep_float: tuple[str, ...] = ()
    serving: ServingMix | None = None
    accept_if: AcceptanceSettings | None = Field(default=AcceptanceSettings())

    @model_validator(mode="after")
    def _refuse_options_of_other_schemes(self) -> Self:
        options = [name for name in self.static_options if self.scheme not in _SCHEMES_OF.get(name, ())]
        if self.scheme not in ("auto", "int8") and options:
            msg = gettext(
                "{options} is for static int8, but scheme is {scheme}; remove it or write scheme: int8",
                options=", ".join(options),
                scheme=self.scheme,
            )
            raise ValueError(msg)
        if self.weight_only != WeightOnlySettings() and self.scheme not in BLOCK_BITS:
            msg = gettext(
                "weight_only is for the schemes {schemes}, but scheme is {scheme}; remove one of them",
                schemes=", ".join(BLOCK_BITS),
                scheme=self.scheme,
            )
            raise ValueError(msg)
        if self.scheme == "block_int8" and self.weight_only.eight_bits:
            msg = gettext("weight_only.eight_bits is for weight_int4; all layers of block_int8 have 8 bits: remove it")
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _refuse_options_beside_recover(self) -> Self:
        if self.recover is None:
            return self
        if (rounding := self.ptq.weights.rounding) != "nearest":
            msg = gettext(
                "recover changes the weights, which undoes ptq.weights.rounding: {rounding}; remove one of them",
                rounding=rounding,
            )
            raise ValueError(msg)
        if self.scheme not in BLOCK_BITS and self.recover.precision in ("bf16", "fp16"):
            msg = gettext(
                "recover.precision {precision} is too coarse for fake quantization; remove it, float32 is used",
                precision=self.recover.precision,
            )
            raise ValueError(msg)
        if self.scheme in BLOCK_BITS and lookup("block_rounding", self.weight_only.rounding).options.get("rescales"):
            msg = gettext(
                "weight_only.rounding: {rounding} rescales the exported network, and recover trains the layers of the torch "
                "network; use another rounding, or remove recover",
                rounding=self.weight_only.rounding,
            )
            raise ValueError(msg)
        if self.scheme in BLOCK_BITS and self.recover.lora is not None:
            msg = gettext("recover.lora: adapters cannot change weights that are rounded in blocks; leave lora out")
            raise ValueError(msg)
        return self

    @property
    def requirements(self) -> Mapping[str, tuple[Capability, ...]]:
        """What a mix of prompts and answers needs."""
        return {} if self.serving is None else {"serving": ("writes_text",)}

    @property
    def static_options(self) -> list[str]:
        """Names of the options for static int8 that differ from their defaults."""
        static = {
            "calibration": CalibrationSettings(),
            "symmetric": None,
            "mixed": None,
            "recover": None,
        }
        names = [name for name, default in static.items() if getattr(self, name) != default]
        smooth = ["ptq.smooth"] if self.ptq.smooth is not None else []
        others = ["ptq"] if self.ptq.model_copy(update={"smooth": None}) != PTQSettings() else []
        return sorted((*names, *smooth, *others))

    @property
    def trains(self) -> bool:  # type: ignore[override]  # a class variable of other stages
        """Whether every process of a distributed launch takes part: for `recover`."""
        return self.recover is not None

    def smoke(self) -> Self:
        """The same stage with few samples and iterations."""
        changes: dict[str, object] = {}
        if self.scheme in ("auto", "int8"):
            changes["calibration"] = self.calibration.model_copy(
                update={"samples": 16, "learn_epochs": min(self.calibration.learn_epochs, 1)}
            )
            weights = self.ptq.weights
            if weights.takes_iterations:
                fewer = weights.model_copy(update={"iterations": min(weights.iterations, 10)})
                changes["ptq"] = self.ptq.model_copy(update={"weights": fewer})
        if self.mixed is not None:
            changes["mixed"] = self.mixed.model_copy(update={"seconds": min(self.mixed.seconds, 2.0)})
        if self.recover is not None:
            changes["recover"] = self.recover.smoke()
        return self.model_copy(update=changes)

    def cache_inputs(self, targets: tuple[Device, ...]) -> dict[str, object]:
        """Runtimes, weight format of this machine and targets, and the device that latency is measured on."""
        from compress.config.devices import fingerprint

        inputs: dict[str, object] = {"runtimes": list(runtimes_to_build(targets)), "reduce_range": seven_bit_weights(targets)}
        inputs |= {"symmetric": symmetric_activations(targets), "per_tensor": per_tensor_weights(targets)}
        timed = self.accept_if is not None or (self.mixed is not None and self.mixed.latency_ms is not None)
        if timed and (device := local_device(targets)) is not None:
            inputs["measured_on"] = fingerprint(device)
        return inputs

    def unsupported_reason(self, targets: tuple[Device, ...]) -> str | None:
        """Runtimes that do not support the scheme, or a latency budget that cannot be measured; None if supported."""
        if reason := unsupported_scheme_reason(self.scheme, target_runtimes(targets)):
            return reason
        if self.mixed is not None and self.mixed.latency_ms is not None and local_device(targets) is None:
            return latency_unavailable(targets)
        return None

    def run(self, candidate: Candidate, context: Context) -> Outcome:
        """Calibrate on training images, write a file for each runtime, and compare it with the float network on validation."""
        from compress.quantize.run_stage import run

        return run(self, candidate, context)
