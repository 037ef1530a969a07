"""`visual_language:small`: a convolutional vision encoder, a projector and a decoder of any source, see `VisualLanguage`.

The decoder keeps its weights if it has some; encoder and projector are new. A new one of `decoder:` starts from normal weights
of the deviation

    σ = √(2 / (5 D))

for the width D (Nguyen & Salazar 2019, Transformers without Tears, arXiv:1910.05895, SmallInit). The constant 0.02 of
transformers, which is σ for D = 1000, leaves narrow decoders so small products that no gradient of use reaches the projector:
they then learn answers without the image. `initializer_range` in the `args` of the decoder sets σ.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.signature import SEQUENCE, AxisSizes
from compress.models.factory import UnfittedModel, construct_model
from compress.models.settings import ModelSettings
from compress.models.sources.decoder import SIZES
from compress.models.text.task_networks import NextTokens
from compress.models.visual_language import VisionEncoder, VisualLanguage, make_projector, visual_tokens
from compress.models.visual_language_settings import DECODER, read_visual_language
from compress.tasks.text.causal_language_model import CausalLanguageModel

if TYPE_CHECKING:
    from torch import nn

    from compress.tasks.base import Task

INITIALIZER = "initializer_range"
"""What transformers calls σ."""


def build(name: str, settings: ModelSettings, spec: NetworkSpec, *, task: Task, base: Path, trust_code: bool) -> UnfittedModel:  # noqa: ARG001
    """Build the parts and join them.

    Raises:
        MissingPackageError: transformers is not installed.
        ModelError: Unknown name, arguments that cannot be, data without images and texts, or a decoder that does not fit.
        TrustError: A decoder whose checkpoint brings code, without `trust_code`.
    """
    try:
        sizes = read_visual_language(name, settings.args)
    except ValueError as error:
        raise ModelError(str(error)) from error
    if spec.image_text is None or not spec.image_text.writes:
        msg = gettext(
            "visual_language:{name} answers a question on an image, for the task visual_language; the data give {inputs}: use "
            "drawn_questions, image_questions:PATH or image_captions:PATH",
            name=name,
            inputs=", ".join(map(str, spec.signature.inputs)),
        )
        raise ModelError(msg)
    image = spec.tower("image")
    places = visual_tokens(image.height, image.width, sizes.vision.steps)
    block = _with_small_init(settings.towers[DECODER])
    draft = construct_model(
        block, _longer(spec.tower("text"), places), task=CausalLanguageModel(), base=base, trust_code=trust_code
    )
    if not isinstance(draft.module, NextTokens):
        raise ModelError(gettext("{source} is no decoder of transformers; give one of decoder: or hf:", source=block.source))
    decoder = draft.module.network
    width = int(decoder.get_input_embeddings().weight.shape[1])  # type: ignore[operator]  # of transformers
    vision = VisionEncoder(sizes.vision, image.channels)
    return UnfittedModel(
        VisualLanguage(vision, make_projector(sizes.projector, vision.features, width), decoder), 0, draft.notes
    )


def fill_vision_from_teacher(student: nn.Module, teacher: nn.Module, name: str) -> tuple[Fact, ...]:
    """Fill the vision encoder of a new student with the weights of that of its trained teacher, in place.

    Args:
        student: The network of `build`.
        teacher: The trained teacher.
        name: Source of the student.

    Returns:
        A note.

    Raises:
        ModelError: The teacher has no such encoder.
    """
    own, other = (
        next((part.vision for part in network.modules() if isinstance(part, VisualLanguage)), None)
        for network in (student, teacher)
    )
    assert own is not None  # noqa: S101  # `build` has made it
    weights = {} if other is None else other.state_dict()
    if {key: value.shape for key, value in weights.items()} != {key: value.shape for key, value in own.state_dict().items()}:
        msg = gettext(
            "{name}: the teacher has no vision encoder of these sizes; give `vision` the sizes of the teacher's, or leave "
            "`weights` out",
            name=name,
        )
        raise ModelError(msg)
    own.load_state_dict(weights)
    return (Fact.of("models.vision_from_teacher", name, parameters=sum(each.numel() for each in own.parameters())),)


def _with_small_init(block: ModelSettings) -> ModelSettings:
    """The block of a decoder, of a new one with σ for its width."""
    source, _, name = block.source.partition(":")
    width = block.args.get("width", SIZES[name][1] if name in SIZES else None)
    if source != "decoder" or INITIALIZER in block.args or not isinstance(width, int) or width < 1:
        return block
    return block.model_copy(update={"args": {**block.args, INITIALIZER: (2 / (5 * width)) ** 0.5}})


def _longer(text: NetworkSpec, places: int) -> NetworkSpec:
    """The specification of a decoder that has room for visual tokens before a text."""
    own = text.signature.sizes[SEQUENCE]
    longer = AxisSizes(own.least + places, own.typical + places, own.most + places)
    return text.model_copy(update={"signature": text.signature.model_copy(update={"sizes": {SEQUENCE: longer}})})
