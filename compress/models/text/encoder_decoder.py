"""Encoder-decoders of transformers as modules with plain tensors in and out."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from compress.models.text.task_networks import cache_name


class ReadPrompt(NamedTuple):
    """What a decoder needs of prompts and of the tokens so far.

    Attributes:
        memory: Hidden states of the encoder, (N, L, D).
        mask: 1 for each token of a prompt that is no padding, int64 (N, L).
        cache: Keys and values of the tokens so far; None before the first one.
    """

    memory: Tensor
    mask: Tensor
    cache: Any = None


class EncoderDecoder(nn.Module):
    """Tokens of prompts, their mask and tokens of responses → logits of the token after each of a response, (N, T, V).

    The first token of a response is replaced by the start of the network, so that callers need not know it.

    Args:
        network: A network of `AutoModelForSeq2SeqLM`.
        start: Token that the decoder reads first.
    """

    def __init__(self, network: nn.Module, *, start: int) -> None:
        super().__init__()
        self.network, self.start = network, start

    def forward(self, input_ids: Tensor, attention_mask: Tensor, decoder_input_ids: Tensor) -> Tensor:
        """Logits.

        Args:
            input_ids: int64 (N, L).
            attention_mask: int64 (N, L).
            decoder_input_ids: int64 (N, T), with padding on the right.
        """
        start = torch.full_like(decoder_input_ids[:, :1], self.start)
        read = torch.cat([start, decoder_input_ids[:, 1:]], dim=1)
        logits: Tensor = self.network(
            input_ids=input_ids, attention_mask=attention_mask, decoder_input_ids=read, use_cache=False
        ).logits
        return logits

    def read_prompt(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[ReadPrompt, Tensor]:
        """What the decoder needs of prompts, and the start of each response, (N, 1).

        Args:
            input_ids: int64 (N, L), with padding on the right.
            attention_mask: int64 (N, L).
        """
        encoder: Any = self.network.get_encoder()  # type: ignore[operator]
        memory = encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return ReadPrompt(memory, attention_mask), torch.full_like(input_ids[:, :1], self.start)

    def write(self, token: Tensor, prompt: ReadPrompt) -> tuple[Tensor, ReadPrompt]:
        """Logits after a token, (N, V), and what the next one needs.

        Args:
            token: The last token of each response, int64 (N, 1).
            prompt: Of `read_prompt`, or of the last call.
        """
        name = cache_name(self.network)
        outputs = self.network(
            encoder_outputs=(prompt.memory,),
            attention_mask=prompt.mask,
            decoder_input_ids=token,
            use_cache=True,
            **{name: prompt.cache},
        )
        return outputs.logits[:, -1], prompt._replace(cache=outputs[name])
