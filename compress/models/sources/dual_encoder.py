"""`dual_encoder:NAME`: an image tower and a text tower, each a network of any source that gives vectors, joined.

The last layer of each tower has as many outputs as the vectors have dimensions: it is the projection into the common space.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.signature import BATCH, TensorSpec
from compress.models import fit_to_data
from compress.models.dual_encoder import DualEncoder
from compress.models.factory import UnfittedModel, construct_model
from compress.models.settings import ModelSettings, split_source
from compress.models.text.token_range import check_token_range
from compress.models.tower_presets import DIMENSIONS, IMAGE, TEXT, read_towers
from compress.tasks.classification import Classification
from compress.tasks.text.embedding import TextEmbedding

if TYPE_CHECKING:
    from torch import nn

    from compress.tasks.base import Task

OF_TRANSFORMERS = ("encoder", "hf")
"""Sources of text networks whose vectors get a projection by the argument `dimensions`."""


def build(name: str, settings: ModelSettings, spec: NetworkSpec, *, task: Task, base: Path, trust_code: bool) -> UnfittedModel:  # noqa: ARG001
    """Build both towers.

    Raises:
        ModelError: Unknown name, arguments that cannot be, data without images and captions, or a tower that does not fit.
        TrustError: A `python:` tower without `trust_code`.
    """
    try:
        _, dimensions = read_towers(name, settings.args)
    except ValueError as error:
        raise ModelError(str(error)) from error
    if spec.image_text is None:
        msg = gettext(
            "dual_encoder:{name} takes an image and a text; the data give {inputs}: use drawn_captions, or image_captions:PATH",
            name=name,
            inputs=", ".join(map(str, spec.signature.inputs)),
        )
        raise ModelError(msg)
    towers, notes = {}, list[Fact]()
    for kind, block in settings.towers.items():
        own = _tower_spec(spec, kind, dimensions)
        towers[kind], facts = _tower(kind, block, own, dimensions, base=base, trust_code=trust_code)
        notes += facts
    return UnfittedModel(DualEncoder(towers[IMAGE], towers[TEXT]), 0, tuple(notes))


def _tower_spec(spec: NetworkSpec, kind: str, dimensions: int) -> NetworkSpec:
    """The specification of a tower that gives vectors, (batch, dimensions)."""
    own = spec.tower("image" if kind == IMAGE else "text")
    output = TensorSpec(name=f"{kind}_embedding", shape=(BATCH, dimensions))
    return own.model_copy(update={"signature": own.signature.model_copy(update={"outputs": (output,)})})


def _tower(
    kind: str, block: ModelSettings, spec: NetworkSpec, dimensions: int, *, base: Path, trust_code: bool
) -> tuple[nn.Module, tuple[Fact, ...]]:
    """A tower whose vectors have these dimensions, and notes.

    Raises:
        ModelError: It does not fit, or gives other vectors.
    """
    if kind == TEXT and split_source(block.source)[0] in OF_TRANSFORMERS:
        block = block.model_copy(update={"args": {**block.args, DIMENSIONS: dimensions, "normalize": False}})
    task = Classification() if kind == IMAGE else TextEmbedding()
    draft = construct_model(block, spec, task=task, base=base, trust_code=trust_code)
    module, notes = draft.module.eval(), [*draft.notes]
    if kind == IMAGE:
        notes += fit_to_data.fit_channels(module, spec.channels)
    if draft.classes:
        notes += fit_to_data.fit_classes(module, draft.classes, dimensions)
    if kind == TEXT:
        check_token_range(module, spec, block.source)
    _check_vectors(module, spec, block.source, kind)
    return module, tuple(notes)


def _check_vectors(module: nn.Module, spec: NetworkSpec, source: str, kind: str) -> None:
    """Run two samples.

    Raises:
        ModelError: The tower does not give a vector of the dimensions for each.
    """
    output = spec.signature.outputs[0]
    try:
        with torch.no_grad():
            given = module(*spec.signature.example(2, seed=None).values())
    except Exception as error:  # any error of the network's code
        inputs = ", ".join(map(str, spec.signature.inputs))
        msg = gettext(
            "{source} cannot be the {kind} tower, which takes {inputs}: {error}",
            source=source,
            kind=kind,
            inputs=inputs,
            error=error,
        )
        raise ModelError(msg) from error
    shape = tuple(given.shape) if isinstance(given, torch.Tensor) else type(given).__name__
    if not isinstance(given, torch.Tensor) or not output.fits(tuple(given.shape), 2):
        msg = gettext(
            "{source} gives {shape} for 2 samples; the {kind} tower gives vectors {output}: set args.dimensions, or change the "
            "network",
            source=source,
            shape=shape,
            kind=kind,
            output=output,
        )
        raise ModelError(msg)
