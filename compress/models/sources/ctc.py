"""`ctc:KIND`: small CTC networks with new weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.models.audio.ctc_network import CtcNetwork
from compress.models.audio.ctc_settings import read_ctc
from compress.models.factory import UnfittedModel
from compress.models.settings import ModelSettings

if TYPE_CHECKING:
    from compress.tasks.base import Task


def build(name: str, settings: ModelSettings, spec: NetworkSpec, *, task: Task, base: Path, trust_code: bool) -> UnfittedModel:  # noqa: ARG001
    """Build a network for the sampling rate and the characters of the data.

    Raises:
        ModelError: Unknown kind, arguments that cannot be, or data that are no audio.
    """
    try:
        sizes = read_ctc(name, settings.args)
    except ValueError as error:
        raise ModelError(str(error)) from error
    if spec.audio is None:
        inputs = ", ".join(map(str, spec.signature.inputs))
        msg = gettext("ctc:{name} takes audio; the data give {inputs}: use a source of audio", name=name, inputs=inputs)
        raise ModelError(msg)
    return UnfittedModel(CtcNetwork(sizes, spec.audio.rate, len(spec.classes)), 0)
