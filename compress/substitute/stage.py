"""`substitute:` in a recipe: replace operators that are slow on a target, then fine-tune. Imports no torch.

find operators ─► decide (recipe or `auto`) ─► replace, each with a fit to training images ─► fine-tune ─► time
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from compress.config.devices import fingerprint
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.registry_field import RegistryName
from compress.core.stage import Candidate, Context, Outcome, Stage
from compress.substitute.operator_kinds import ACTIVATIONS, OPERATOR_KINDS, SQUEEZE_EXCITE
from compress.tasks.capability import Capability
from compress.train.settings import FinetuneSettings

if TYPE_CHECKING:
    from compress.config.devices import Device
    from compress.core.stage import Form

Activation = Literal["auto", "relu6", "relu", "none"]


class Activations(FrozenModel):
    """Successor of each activation; an activation that is not named stays.

    Attributes:
        hardswish: `relu6`, `relu`, `auto` or `none`.
        silu: Likewise; also called Swish.
        gelu: Likewise, the exact function and its approximations.
    """

    hardswish: Activation = "none"
    silu: Activation = "none"
    gelu: Activation = "none"


class Substitute(Stage):
    """Replace operators that are slow on a target, then fine-tune.

    `auto` replaces a kind of operator if the whole network without it is faster on a target by `worth` or more. The speed-up
    is measured in ONNX Runtime if the target is this machine, and estimated from the device profile otherwise, both in
    float32. The targets are the devices that the recipe names, or this machine.

    Attributes:
        activations: Successors of HardSwish, SiLU and GELU: `relu6` (bounded, which suits int8), `relu`, `none` to leave
            them, or `auto`: relu6 for HardSwish and SiLU, relu for GELU, where that is faster. Or a mapping:
            `{hardswish: relu6, silu: none}`.
        squeeze_excite: `remove` removes squeeze-excite gates, and a neighbouring layer absorbs the mean gate; `keep`; or
            `auto`.
        depthwise: `3x3` shrinks depthwise convolutions of 5×5 and larger; `keep`; or `auto`.
        kernel: Initial weights of a shrunk convolution: `least_squares` fits all nine to the old response on training images;
            `crop` takes the centre of the old kernel times one factor per channel.
        protect: Globs of module names, such as `features.0*`, that stay unchanged with all their submodules.
        images: Number of training images on which gates, kernels and statistics are fitted.
        statistics: Recompute batch-norm statistics after each kind of replacement; used only if validation accuracy does not
            drop.
        worth: Smallest fraction of the latency that a kind must save for `auto` to replace it.
        recover: Fine-tuning afterwards; the default teacher is the input network of the stage.
        timing_seconds: Duration of the timing of each network on this machine; 0 times only for `auto`.
    """

    accepts: ClassVar[tuple[Form, ...]] = ("torch",)
    trains: ClassVar[bool] = True
    compresses: ClassVar[bool] = True
    requires: ClassVar[tuple[Capability, ...]] = ("continuous_input",)

    activations: Activation | Activations = "auto"
    squeeze_excite: Literal["auto", "remove", "keep"] = "auto"
    depthwise: Literal["auto", "3x3", "keep"] = "auto"
    kernel: Annotated[str, RegistryName("kernel")] = "least_squares"
    protect: tuple[str, ...] = ()
    images: int = Field(default=256, ge=2)
    statistics: bool = True
    worth: float = Field(default=0.02, gt=0.0, lt=1.0)
    recover: FinetuneSettings = Field(default_factory=FinetuneSettings)
    timing_seconds: float = Field(default=1.0, ge=0.0, le=60.0)

    @model_validator(mode="after")
    def _has_something_to_do(self) -> Self:
        if not any(self.successor(kind) for kind in OPERATOR_KINDS):
            msg = gettext(
                "nothing is to be replaced: activations is none, squeeze_excite and depthwise are keep; "
                "set one of them, or leave the stage out"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _kernel_is_for_shrinking(self) -> Self:
        if self.kernel != "least_squares" and self.depthwise == "keep":
            msg = gettext(
                "kernel {kernel!r} is how depthwise convolutions shrink, and depthwise is 'keep'; leave one of them out",
                kernel=self.kernel,
            )
            raise ValueError(msg)
        return self

    def successor(self, kind: str) -> str:
        """Operator that replaces one of `OPERATOR_KINDS`, `auto`, or empty if the kind stays."""
        if kind in ACTIVATIONS:
            setting = self.activations if isinstance(self.activations, str) else str(getattr(self.activations, kind))
            return "" if setting == "none" else setting
        setting = self.squeeze_excite if kind == SQUEEZE_EXCITE else self.depthwise
        return "" if setting == "keep" else setting

    @property
    def automatic(self) -> bool:
        """Whether `auto` decides about any kind."""
        return any(self.successor(kind) == "auto" for kind in OPERATOR_KINDS)

    def cache_inputs(self, targets: tuple[Device, ...]) -> dict[str, object]:
        """The targets, if `auto` decides by their latency."""
        return {"devices": [fingerprint(device) for device in targets]} if self.automatic else {}

    def smoke(self) -> Self:
        """Few images, one epoch of fine-tuning, timing only for `auto`."""
        small = {"images": min(self.images, 16), "recover": self.recover.smoke(), "timing_seconds": 0.0}
        return self.model_copy(update=small)

    def run(self, candidate: Candidate, context: Context) -> Outcome:
        """Replace and fine-tune; an interrupted fine-tuning continues.

        Raises:
            ModelError: The network cannot be traced, or a glob matches nothing.
        """
        from compress.substitute.loop import run

        return run(self, candidate, context)
