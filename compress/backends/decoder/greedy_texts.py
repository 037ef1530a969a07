"""Texts that a network writes with its likeliest tokens: a torch module, or a file in its runtime.

A network whose attention layers are known is run with past keys and values, as its artifact is; any other file reads the whole
text again for each token.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from compress.backends.continue_prompts import Sampling, continue_prompts
from compress.backends.decoder.key_value_cache import IDS, MASK, read_layout
from compress.backends.decoder.open_writer import open_writer
from compress.backends.eval_mode import eval_mode
from compress.backends.iterate_split import has_batch_ranges
from compress.backends.open_runner import open_runner
from compress.backends.runner_protocol import FileRunner
from compress.data.batch import Tensors
from compress.data.text.settings import DECODER_IDS

BATCH = 32
"""Prompts that are answered together."""


def greedy_texts(
    network: nn.Module | Path,
    prompts: Sequence[Tensor],
    *,
    end: int,
    most: int,
    max_new_tokens: int,
    runtime: str = "onnxruntime",
    images: Sequence[Tensors] | None = None,
) -> list[list[int]]:
    """Tokens of the text after each prompt, with the token that ends it where it ends by itself.

    Args:
        network: A module on the CPU, or an ONNX file.
        prompts: Tokens of each prompt, int64, at least one.
        end: Token that ends a text.
        most: Longest sequence that the network reads, in tokens.
        max_new_tokens: Longest text.
        runtime: Of a file, as in a device profile.
        images: Further inputs of each prompt by name, such as the image that it is about; None for none.

    Raises:
        CompressError: The file cannot be loaded.
    """
    sampling = Sampling(max_new_tokens=max_new_tokens)
    if isinstance(network, nn.Module):
        with eval_mode(network):
            return _in_batches(network, prompts, sampling, images, end=end, most=most, size=BATCH)
    if runtime == "onnxruntime" and images is None and read_layout(network) is not None:
        return _with_cache(network, prompts, end=end, most=most, max_new_tokens=max_new_tokens)
    size = 1 if has_batch_ranges(network) else BATCH
    with open_runner(runtime, network, threads=0) as runner:
        file = _FileEncoderDecoder(runner) if DECODER_IDS in runner.shapes() else _FileNetwork(runner)
        return _in_batches(file, prompts, sampling, images, end=end, most=most, size=size)


def _in_batches(
    network: nn.Module,
    prompts: Sequence[Tensor],
    sampling: Sampling,
    images: Sequence[Tensors] | None,
    *,
    end: int,
    most: int,
    size: int,
) -> list[list[int]]:
    texts: list[list[int]] = []
    for start in range(0, len(prompts), size):
        own = network if images is None else _WithImages(network, images[start : start + size])
        found = continue_prompts([(own, 1.0)], prompts[start : start + size], sampling, end=end, most=most)
        lengths: list[int] = found.lengths.tolist()
        texts += [tokens[:length].tolist() for tokens, length in zip(found.tokens, lengths, strict=True)]
    return texts


def _with_cache(path: Path, prompts: Sequence[Tensor], *, end: int, most: int, max_new_tokens: int) -> list[list[int]]:
    """Texts one after the other, with keys and values of earlier tokens."""
    texts = []
    with open_writer(path, threads=0) as writer:
        for prompt in prompts:
            longest = min(most, writer.context)
            room = max(1, min(max_new_tokens, longest if writer.is_apart else longest + 1 - len(prompt)))
            tokens, logits = [], writer.begin(prompt.tolist(), room)
            while True:
                tokens.append(int(logits[-1].argmax()))
                if tokens[-1] == end or len(tokens) == room:
                    break
                logits = writer.read(tokens[-1:])
            texts.append(tokens)
    return texts


class _WithImages(nn.Module):
    """A network that reads texts about images of its own.

    Args:
        network: Of images and texts.
        images: Image of each text, by the name of the input.
    """

    def __init__(self, network: nn.Module, images: Sequence[Tensors]) -> None:
        super().__init__()
        self.network = network
        self.images = {name: torch.stack([each[name] for each in images]) for name in images[0]}

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits of all tokens, (N, L, V)."""
        logits: Tensor = self.network(**self.images, input_ids=input_ids, attention_mask=attention_mask)
        return logits


class _FileNetwork(nn.Module):
    """A file that reads whole texts, as a network."""

    def __init__(self, runner: FileRunner) -> None:
        super().__init__()
        self.runner = runner
        self.names = tuple(runner.shapes())

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **images: Tensor) -> Tensor:
        """Logits of all tokens, (N, L, V)."""
        given = {name: values.numpy() for name, values in {IDS: input_ids, MASK: attention_mask, **images}.items()}
        feeds = {name: given.get(name, np.zeros_like(given[IDS])) for name in self.names}
        return torch.from_numpy(self.runner.run(feeds)[0]).float()


class _FileEncoderDecoder(nn.Module):
    """A file that reads prompts and responses, as a network."""

    def __init__(self, runner: FileRunner) -> None:
        super().__init__()
        self.runner = runner

    def forward(self, input_ids: Tensor, attention_mask: Tensor, decoder_input_ids: Tensor) -> Tensor:
        """Logits of all tokens of the responses, (N, T, V)."""
        given = {IDS: input_ids, MASK: attention_mask, DECODER_IDS: decoder_input_ids}
        return torch.from_numpy(self.runner.run({name: values.numpy() for name, values in given.items()})[0]).float()
