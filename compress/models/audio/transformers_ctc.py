"""wav2vec 2.0, HuBERT and WavLM with a CTC head, as modules with plain tensors in and out.

Baevski et al. 2020, arXiv:2006.11477; Hsu et al. 2021, arXiv:2106.07447; Chen et al. 2021, arXiv:2110.13900.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.user_path import user_path
from compress.models.audio.ctc_network import frame_mask
from compress.tasks.audio.padded_frames import blank_padding

if TYPE_CHECKING:
    from transformers import PretrainedConfig

KINDS = ("wav2vec2", "hubert", "wavlm")
"""Kinds of networks, as `model_type` names them."""
SPACE = "|"
"""Token between words where the vocabulary names no other."""
FLOOR = 1e-7
"""Added to the variance, as transformers does."""


class TransformersCtc(nn.Module):
    """Audio float32 (N, S) and attention mask int64 (N, S) → logits (N, ⌊S / stride⌋, K), a certain blank after the end.

    The audio of each clip is normalised to mean 0 and variance 1 where the network was trained so.

    Args:
        network: A network of `AutoModelForCTC`.
        config: Its configuration.
        normalise: Whether to normalise each clip.
    """

    def __init__(self, network: nn.Module, config: PretrainedConfig, *, normalise: bool) -> None:
        super().__init__()
        self.network, self.normalise = network, normalise
        self.stride = prod(config.conv_stride)
        self.around = (_receptive_field(config.conv_kernel, config.conv_stride) - self.stride + 1) // 2

    def forward(self, audio: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits."""
        samples = attention_mask.to(audio.dtype)
        if self.normalise:
            count = samples.sum(1, keepdim=True)
            mean = (audio * samples).sum(1, keepdim=True) / count
            centred = (audio - mean) * samples
            audio = centred / torch.sqrt((centred * centred).sum(1, keepdim=True) / count + FLOOR)
        mask = frame_mask(samples, self.stride)
        body: Any = self.network.base_model
        x = body.feature_extractor(F.pad(audio, (self.around, self.around))).transpose(1, 2)[:, : mask.shape[1]]
        projected = body.feature_projection(x)
        hidden = projected[0] if isinstance(projected, tuple) else projected
        out = body.encoder(hidden, attention_mask=mask > 0)
        network: Any = self.network
        return blank_padding(network.lm_head(network.dropout(out.last_hidden_state)), mask)


def _receptive_field(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Samples that a frame of the convolutions sees."""
    size, step = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        size, step = size + (kernel - 1) * step, step * stride
    return size


def check_ctc_config(config: PretrainedConfig, name: str) -> None:
    """Check that a network is one of `KINDS` without an adapter.

    Raises:
        ModelError: It is not.
    """
    if config.model_type not in KINDS or getattr(config, "add_adapter", False):
        msg = gettext(
            "hf:{name} is a {model_type}; speech_ctc takes networks of {known} without an adapter, the encoder of whisper, or "
            "ctc:quartznet",
            name=name,
            model_type=config.model_type,
            known=", ".join(KINDS),
        )
        raise ModelError(msg)


def check_rate(prepared: Mapping[str, object], spec: NetworkSpec, name: str) -> None:
    """Check that the data are audio of the rate that the network was trained with.

    Args:
        prepared: Entries of its `preprocessor_config.json`.
        spec: Of the data.
        name: Names it in messages.

    Raises:
        ModelError: They are not.
    """
    rate = prepared.get("sampling_rate")
    own = None if spec.audio is None else spec.audio.rate
    if own is None or (isinstance(rate, int) and rate != own):
        msg = gettext(
            "hf:{name} takes audio of {rate} samples per second, the data have {own}; set data.audio.rate",
            name=name,
            rate=rate or 16_000,
            own=own or gettext("none"),
        )
        raise ModelError(msg)


def preprocessor(name: str, base: Path) -> Mapping[str, object]:
    """The entries of `preprocessor_config.json` of a folder; empty for a name on the hub and for a folder without it."""
    return _read(user_path(name, base) / "preprocessor_config.json")


def vocabulary(name: str, base: Path) -> dict[str, int]:
    """Number of each token by `vocab.json` of a folder; empty without it."""
    numbers = _read(user_path(name, base) / "vocab.json")
    return {token: number for token, number in numbers.items() if isinstance(number, int)}


def _read(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = gettext("cannot read {path}: {error}; save the network again with save_pretrained", path=path, error=error)
        raise ModelError(msg) from error
    return entries if isinstance(entries, dict) else {}


def fit_characters(
    network: nn.Module, config: PretrainedConfig, tokens: Mapping[str, int], classes: Sequence[str], name: str
) -> None:
    """Give the head a row for each character of the data, from the rows of the network's own characters, in place.

    The blank is the padding token. A character is looked up as it is, then in upper case, since most vocabularies have capital
    letters alone; the space is `|`.

    Args:
        network: A network of `AutoModelForCTC` with its weights.
        config: Its configuration.
        tokens: Number of each token.
        classes: The blank and the characters of the data.
        name: Names it in messages.

    Raises:
        ModelError: A character is not known.
    """
    rows = [int(config.pad_token_id or 0)]
    missing = []
    for character in classes[1:]:
        known = (character, character.upper(), SPACE if character == " " else character)
        number = next((tokens[each] for each in known if each in tokens), None)
        rows.append(number or 0)
        if number is None:
            missing.append(character)
    if missing:
        msg = gettext(
            "hf:{name} does not know the characters {missing} of the transcripts; change these, set data.audio.characters, or "
            "set weights: fresh",
            name=name,
            missing=", ".join(map(repr, missing)),
        )
        raise ModelError(msg)
    head: Any = network.lm_head
    fitted = nn.Linear(head.in_features, len(rows))
    with torch.no_grad():
        fitted.weight.copy_(head.weight[rows])
        fitted.bias.copy_(head.bias[rows])
    network.lm_head = fitted
