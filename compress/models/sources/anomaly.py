"""`anomaly:small`: a reference network and small students for anomaly detection, see `compress.models.anomaly_networks`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.models import fit_to_data
from compress.models.anomaly_networks import AnomalyNetwork, BackboneLevels, ConvLevels
from compress.models.factory import UnfittedModel, construct_model
from compress.models.read_args import read_args
from compress.models.settings import ModelSettings
from compress.tasks.classification import Classification

if TYPE_CHECKING:
    from compress.tasks.base import Task

NAME = "small"


class AnomalyArguments(FrozenModel):
    """`args` of the source.

    Attributes:
        reference: A `model:` block of a classification network whose first layers are the reference; None for a small network
            with random weights, which needs no file (Burda et al. 2019, random network distillation, arXiv:1810.12894).
        reference_width: Channels of that small network at half the resolution.
        width: Of the students, likewise.
        students: How many; the map is the mean of theirs.
        strides: Of the features that are compared.
    """

    reference: ModelSettings | None = None
    reference_width: int = Field(default=16, ge=1)
    width: int = Field(default=8, ge=1)
    students: int = Field(default=1, ge=1, le=8)
    strides: tuple[int, ...] = Field(default=(4, 8, 16), min_length=1)


def build(name: str, settings: ModelSettings, spec: NetworkSpec, *, task: Task, base: Path, trust_code: bool) -> UnfittedModel:  # noqa: ARG001
    """Build reference and students.

    Raises:
        ModelError: Unknown name, arguments that it does not take, or a reference without features of these strides.
    """
    if name != NAME:
        msg = gettext(
            "there is no anomaly network {name!r}; write anomaly:{known}, and choose the reference by args.reference",
            name=name,
            known=NAME,
        )
        raise ModelError(msg)
    try:
        arguments = read_args(f"anomaly:{name}", AnomalyArguments, settings.args, _fields())
    except ValueError as error:
        raise ModelError(str(error)) from error
    if any(stride not in (2**power for power in range(1, 7)) for stride in arguments.strides) or list(
        arguments.strides
    ) != sorted(set(arguments.strides)):
        msg = gettext(
            "anomaly:{name}: strides {strides}; they are powers of 2 from 2 to 64, ascending, such as [4, 8]",
            name=name,
            strides=list(arguments.strides),
        )
        raise ModelError(msg)
    reference, notes = _reference(arguments, spec, base, trust_code=trust_code)
    with torch.no_grad():
        widths = [features.shape[1] for features in reference.eval()(_example(spec))]
    students = [ConvLevels(spec.channels, arguments.width, widths, arguments.strides) for _ in range(arguments.students)]
    network = AnomalyNetwork(reference, students, counts_statistics=arguments.reference is None)
    return UnfittedModel(network, 0, notes)


def _reference(
    arguments: AnomalyArguments, spec: NetworkSpec, base: Path, *, trust_code: bool
) -> tuple[nn.Module, tuple[Fact, ...]]:
    if arguments.reference is None:
        return ConvLevels(spec.channels, arguments.reference_width, strides=arguments.strides), ()
    draft = construct_model(arguments.reference, spec, task=Classification(), base=base, trust_code=trust_code)
    notes = (*draft.notes, *fit_to_data.fit_channels(draft.module, spec.channels))
    try:
        return BackboneLevels(draft.module, _example(spec), arguments.strides), notes
    except (ValueError, RuntimeError) as error:
        msg = gettext(
            "{source} cannot be the reference of an anomaly network: {error}", source=arguments.reference.source, error=error
        )
        raise ModelError(msg) from error


def _example(spec: NetworkSpec) -> Tensor:
    return torch.zeros(1, *spec.image_shape)


def _fields() -> str:
    return ", ".join(AnomalyArguments.model_fields)
