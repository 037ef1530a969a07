"""Whisper (Radford et al. 2022, arXiv:2212.04356) as a module of audio and tokens, with its log-mel features inside.

    audio (N, S) ─► zeros up to the window ─► log-mel ─► encoder (N, T, D) ─► decoder, tokens so far ─► logits (N, L, V)

The window is 30 s, as in training, or shorter: then the encoder takes less time, and sees fewer zeros than it was trained with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.models.audio.whisper_ctc import HOP_S, RATES, WhisperFeatures, mel_filters_of
from compress.models.text.encoder_decoder import ReadPrompt
from compress.models.text.task_networks import cache_name

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from compress.core.network_spec import NetworkSpec

WINDOW = "window"
"""Argument of an `hf:` Whisper with the seconds that the encoder reads."""


class TokenPositions(nn.Embedding):
    """Learned positions as a lookup, in place of the slice that transformers takes; so an exported graph can move them."""

    def forward(  # type: ignore[override]  # the arguments are those of transformers
        self,
        input_ids: Tensor,
        *before: int,
        position_ids: Tensor | None = None,  # noqa: ARG002
        **lengths: int,
    ) -> Tensor:
        """Vectors of the positions of new tokens, (T, D).

        Args:
            input_ids: New tokens, (N, T).
            before: Number of tokens before them, which releases of transformers name differently.
            position_ids: Not used.
            lengths: The same by its name.
        """
        first = next(iter((*before, *lengths.values())), 0)
        return super().forward(torch.arange(input_ids.shape[1], device=input_ids.device) + first)


class WhisperText(nn.Module):
    """Audio (N, S), attention mask (N, S) and tokens (N, L) → logits of the token after each, (N, L, V).

    Args:
        network: A `WhisperForConditionalGeneration` of transformers.
        rate: Samples per second.
        vocabulary: V, at most that of the network; tokens after it, such as those of times, are left out.
        window: Seconds that the encoder reads.
    """

    def __init__(self, network: nn.Module, rate: int, vocabulary: int, window: float) -> None:
        super().__init__()
        config: Any = network.config
        self.network: Any = network
        self.start, self.vocabulary = int(config.decoder_start_token_id), vocabulary
        self.features = WhisperFeatures(mel_filters_of(int(config.num_mel_bins)), rate)
        self.samples = round(window / (2 * HOP_S)) * 2 * self.features.hop
        decoder: Any = self.network.model.decoder  # type: ignore[union-attr]  # torch declares attributes as tensors
        old = decoder.embed_positions
        positions = TokenPositions(*old.weight.shape)
        positions.weight = old.weight
        decoder.embed_positions = positions

    def memory(self, audio: Tensor, attention_mask: Tensor) -> Tensor:
        """Hidden states of the encoder, (N, T, D).

        Args:
            audio: float32 (N, S).
            attention_mask: 1 for samples of the clip, int64 (N, S).
        """
        heard = audio * attention_mask.to(audio.dtype)
        zeros = heard.new_zeros(heard.shape[0], self.samples)
        encoder = self.network.model.encoder
        inner = F.gelu(encoder.conv1(self.features(torch.cat([heard, zeros], dim=1)[:, : self.samples])))
        x = F.gelu(encoder.conv2(inner)).transpose(1, 2)
        x = x + encoder.embed_positions.weight[: self.samples // (2 * self.features.hop)]
        for layer in encoder.layers:
            x = layer(x, None)
        states: Tensor = encoder.layer_norm(x)
        return states

    def forward(self, audio: Tensor, attention_mask: Tensor, decoder_input_ids: Tensor) -> Tensor:
        """Logits; the first token is replaced by the start of the network."""
        start = torch.full_like(decoder_input_ids[:, :1], self.start)
        read = torch.cat([start, decoder_input_ids[:, 1:]], dim=1)
        memory = self.memory(audio, attention_mask)
        logits: Tensor = self.network(encoder_outputs=(memory,), decoder_input_ids=read, use_cache=False).logits
        return logits[..., : self.vocabulary]

    def read_prompt(self, audio: Tensor, attention_mask: Tensor) -> tuple[ReadPrompt, Tensor]:
        """What the decoder needs of clips, and the start of each text, (N, 1)."""
        memory = self.memory(audio, attention_mask)
        start = torch.full((len(audio), 1), self.start, dtype=torch.long, device=audio.device)
        return ReadPrompt(memory, attention_mask), start

    def write(self, token: Tensor, prompt: ReadPrompt) -> tuple[Tensor, ReadPrompt]:
        """Logits after a token of each text, (N, V), and what the next one needs."""
        name = cache_name(self.network)
        outputs = self.network(
            encoder_outputs=(prompt.memory,), decoder_input_ids=token, use_cache=True, **{name: prompt.cache}
        )
        return outputs.logits[:, -1, : self.vocabulary], prompt._replace(cache=outputs[name])


def check_whisper_text(config: PretrainedConfig, spec: NetworkSpec, window: object, name: str) -> float:
    """Seconds that the encoder reads, for data of a rate, tokens and lengths that the network takes.

    Args:
        config: Of the network.
        spec: Of the data.
        window: The argument `window`; None for the longest.
        name: Names it in messages.

    Raises:
        ModelError: They are not, or the window cannot be.
    """
    longest = 2 * HOP_S * int(config.max_source_positions)
    chosen = longest if window is None else window
    if isinstance(chosen, bool) or not isinstance(chosen, int | float) or not 1 <= chosen <= longest:
        msg = gettext(
            "args.window of hf:{name} is {value!r}; write seconds from 1 to {most:g}", name=name, value=window, most=longest
        )
        raise ModelError(msg)
    audio = spec.audio
    assert audio is not None  # noqa: S101  # checked by the task
    if audio.rate not in RATES or audio.most_samples > chosen * audio.rate:
        msg = gettext(
            "hf:{name} reads clips of at most {most:g} s with {rates} samples per second; the data have up to {own:g} s with "
            "{rate}: set data.audio.most and data.audio.rate, or args.window of the network",
            name=name,
            most=chosen,
            rates=gettext(" or ").join(map(str, RATES)),
            own=audio.most_samples / audio.rate,
            rate=audio.rate,
        )
        raise ModelError(msg)
    if len(spec.classes) > int(config.vocab_size):
        msg = gettext(
            "the tokenizer of the data has {tokens} tokens, and hf:{name} writes {vocabulary}: use that of the network",
            tokens=len(spec.classes),
            name=name,
            vocabulary=int(config.vocab_size),
        )
        raise ModelError(msg)
    return float(chosen)
