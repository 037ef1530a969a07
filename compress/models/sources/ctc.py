"""`ctc:KIND`, `audio_frames:KIND` and `audio_classifier:KIND`: small networks of audio with new weights.

They are for transcripts, for a class of each frame, and for a class of each clip.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.models.audio.ctc_network import AudioClassifier, CtcNetwork
from compress.models.audio.ctc_settings import CtcSettings, read_ctc
from compress.models.factory import UnfittedModel
from compress.models.settings import ModelSettings

if TYPE_CHECKING:
    from compress.tasks.base import Task


def build(name: str, settings: ModelSettings, spec: NetworkSpec, *, task: Task, base: Path, trust_code: bool) -> UnfittedModel:  # noqa: ARG001
    """Build a network for the sampling rate and the characters of the data.

    Raises:
        ModelError: Unknown kind, arguments that cannot be, or data that are no audio.
    """
    return UnfittedModel(CtcNetwork(*_parts("ctc", name, settings, spec)), 0)


def build_classifier(
    name: str,
    settings: ModelSettings,
    spec: NetworkSpec,
    *,
    task: Task,  # noqa: ARG001  # the interface of sources
    base: Path,  # noqa: ARG001
    trust_code: bool,  # noqa: ARG001
) -> UnfittedModel:
    """Build a classifier for the sampling rate and the classes of the data; errors as for `build`."""
    return UnfittedModel(AudioClassifier(*_parts("audio_classifier", name, settings, spec)), 0)


def build_frames(
    name: str,
    settings: ModelSettings,
    spec: NetworkSpec,
    *,
    task: Task,  # noqa: ARG001  # the interface of sources
    base: Path,  # noqa: ARG001
    trust_code: bool,  # noqa: ARG001
) -> UnfittedModel:
    """Build a network that gives a class to each frame of the targets; errors as for `build`, and another length of frames."""
    parts = _parts("audio_frames", name, settings, spec)
    sizes, rate, _ = parts
    own, needed = round(sizes.hop * rate) * sizes.stride, spec.audio.frame_samples if spec.audio else None
    if needed is not None and own != needed:
        msg = gettext(
            "audio_frames:{name} has frames of {own:g} s (hop · stride), the targets of the data have {needed:g} s; set "
            "args.hop and args.stride, or data.audio.frame",
            name=name,
            own=own / rate,
            needed=needed / rate,
        )
        raise ModelError(msg)
    return UnfittedModel(CtcNetwork(*parts), 0)


def _parts(source: str, name: str, settings: ModelSettings, spec: NetworkSpec) -> tuple[CtcSettings, int, int]:
    """Sizes, sampling rate and number of classes."""
    try:
        sizes = read_ctc(name, settings.args, source)
    except ValueError as error:
        raise ModelError(str(error)) from error
    if spec.audio is None:
        inputs = ", ".join(map(str, spec.signature.inputs))
        msg = gettext(
            "{source}:{name} takes audio; the data give {inputs}: use a source of audio",
            source=source,
            name=name,
            inputs=inputs,
        )
        raise ModelError(msg)
    return sizes, spec.audio.rate, len(spec.classes)
