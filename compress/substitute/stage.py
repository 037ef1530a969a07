"""`substitute:` in a recipe: operators that a target runs badly give way to others, and the network heals. Light: no torch.

survey ─► choose (asked for, or `auto`) ─► replace, each with a fit to training images ─► recover ─► time
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from compress.config.devices import fingerprint
from compress.core.record import FrozenModel
from compress.core.registry_field import RegistryName
from compress.core.stage import Candidate, Context, Outcome, Stage
from compress.substitute.operator_kinds import ACTIVATIONS, OPERATOR_KINDS, SQUEEZE_EXCITE
from compress.train.settings import FinetuneSettings

if TYPE_CHECKING:
    from compress.config.devices import Device
    from compress.core.stage import Form

Activation = Literal["auto", "relu6", "relu", "none"]


class Activations(FrozenModel):
    """What each activation becomes; one that is not named stays.

    Attributes:
        hardswish: `relu6`, `relu`, `auto` or `none`.
        silu: Likewise; also called Swish.
        gelu: Likewise, in all its forms.
    """

    hardswish: Activation = "none"
    silu: Activation = "none"
    gelu: Activation = "none"


class Substitute(Stage):
    """Replace what a target runs badly by what it runs well, and recover, as the mobile variants of published networks do.

    `auto` replaces a kind of operator where the whole network without it is faster on a target by `worth` and more: timed in
    ONNX Runtime where the target is this machine, estimated from its profile elsewhere, in float32 both. The targets are the
    devices that the recipe names; this machine where it names none.

    Attributes:
        activations: What HardSwish, SiLU and GELU become: `relu6` (bounded, which int8 likes), `relu`, `none` to leave them, or
            `auto`: relu6 for HardSwish and SiLU, relu for GELU, where that is faster. Or each by itself:
            `{hardswish: relu6, silu: none}`.
        squeeze_excite: `remove` takes squeeze-excite gates out and lets the next layer absorb their mean; `keep`; or `auto`.
        depthwise: `3x3` shrinks depthwise convolutions of 5×5 and more; `keep`; or `auto`.
        kernel: First weights of a shrunk convolution: `least_squares` fits all nine to its old response on training images;
            `crop` takes the middle of the old kernel times one factor a channel.
        protect: Globs of module names that stay as they are, with everything inside, such as `features.0*`.
        images: Training images that gates, kernels and statistics are fitted on.
        statistics: Count the statistics of batch norms anew after each kind of replacement; kept where validation does not lose
            by it.
        worth: Smallest part of the network's time that a kind must save for `auto` to replace it.
        recover: Training afterwards; the parent, the network as the stage was given it, teaches unless told otherwise.
        timing_seconds: How long to time each network on this machine; 0 does not, but for `auto`.
    """

    accepts: ClassVar[tuple[Form, ...]] = ("torch",)
    trains: ClassVar[bool] = True

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
        if not any(self.asked(kind) for kind in OPERATOR_KINDS):
            msg = (
                "nothing is to be replaced: activations is none, squeeze_excite and depthwise are keep; "
                "set one of them, or leave the stage out"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _kernel_is_for_shrinking(self) -> Self:
        if self.kernel != "least_squares" and self.depthwise == "keep":
            msg = f"kernel {self.kernel!r} is how depthwise convolutions shrink, and depthwise is 'keep'; leave one of them out"
            raise ValueError(msg)
        return self

    def asked(self, kind: str) -> str:
        """What one of `OPERATOR_KINDS` becomes: `auto`, the name of what comes in its place, or nothing for it to stay."""
        if kind in ACTIVATIONS:
            given = self.activations if isinstance(self.activations, str) else str(getattr(self.activations, kind))
            return "" if given == "none" else given
        given = self.squeeze_excite if kind == SQUEEZE_EXCITE else self.depthwise
        return "" if given == "keep" else given

    @property
    def automatic(self) -> bool:
        """Whether anything is left to `auto`."""
        return any(self.asked(kind) == "auto" for kind in OPERATOR_KINDS)

    def cache_inputs(self, targets: tuple[Device, ...]) -> dict[str, Any]:
        """The targets, where they have a say in what is replaced."""
        return {"devices": [fingerprint(device) for device in targets]} if self.automatic else {}

    def smoke(self) -> Self:
        """Few images, one epoch of recovery, no timing but for `auto`."""
        small = {"images": min(self.images, 16), "recover": self.recover.smoke(), "timing_seconds": 0.0}
        return self.model_copy(update=small)

    def run(self, candidate: Candidate, context: Context) -> Outcome:
        """Replace and recover; an interrupted recovery continues.

        Raises:
            ModelError: The network cannot be followed, or a glob matches nothing.
        """
        from compress.substitute.loop import run

        return run(self, candidate, context)
