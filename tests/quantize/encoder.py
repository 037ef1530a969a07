"""A small text encoder with a free sequence length and a padding mask, for the tests of quantization."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.backends.export_onnx import export_onnx
from compress.core.network_spec import NetworkSpec
from compress.core.signature import AxisSizes, Signature, TensorSpec
from compress.data.batch import TARGET, Batch

VOCABULARY, WIDTH, HEADS, CLASSES = 300, 64, 4, 3
SHAPE = ("batch", "sequence")
SPEC = NetworkSpec(
    signature=Signature(
        inputs=(
            TensorSpec(name="input_ids", dtype="int64", shape=SHAPE, values=(0, VOCABULARY - 1)),
            TensorSpec(name="attention_mask", dtype="int64", shape=SHAPE, values=(1, 1)),
        ),
        outputs=(TensorSpec(name="logits", shape=("batch", CLASSES)),),
        sizes={"sequence": AxisSizes(1, 16, 48)},
    ),
    classes=("a", "b", "c"),
)


class Layer(nn.Module):
    """Attention and feed-forward, normalised after each."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.norm, self.last_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (N, L, W), mask (N, 1, 1, L) of True where a token is."""
        heads = [layer(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)]
        attended = F.scaled_dot_product_attention(*heads, attn_mask=mask.expand(-1, 1, x.shape[1], -1))
        x = self.norm(x + self.output(attended.transpose(1, 2).flatten(2)))
        return self.last_norm(x + self.down(F.gelu(self.up(x))))


class Encoder(nn.Module):
    """Two layers, the mean over the tokens, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(48, WIDTH)
        self.layers = nn.ModuleList([Layer(), Layer()])
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits (N, classes)."""
        x = self.words(input_ids) + self.positions(torch.arange(input_ids.shape[1]))
        for layer in self.layers:
            x = layer(x, attention_mask.bool()[:, None, None])
        weights = attention_mask[..., None].to(x.dtype)
        return self.head((x * weights).sum(1) / weights.sum(1))


def encoder() -> Encoder:
    """An encoder with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Encoder().eval()


@cache
def encoder_file() -> Path:
    """The exported encoder, made once per process, because an export takes seconds; do not change the file."""
    path = Path(mkdtemp(prefix="encoder_")) / "encoder.onnx"
    export_onnx(encoder(), SPEC, path)
    atexit.register(rmtree, path.parent)
    return path


def feeds(count: int, length: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Texts of different lengths, padded to one length."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(2, length + 1, count)
    lengths[0] = length
    mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
    return {"input_ids": generator.integers(1, VOCABULARY, (count, length)) * mask, "attention_mask": mask}


@dataclass
class TextSplit:
    """Padded texts whose class is that of the float encoder."""

    batch: dict[str, np.ndarray]
    targets: Tensor
    fingerprint: str = "texts"
    views: int | None = 1

    def __len__(self) -> int:
        return len(self.targets)

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        for start in range(0, len(self), batch_size):
            part = slice(start, start + batch_size)
            inputs = {name: torch.from_numpy(array[part]) for name, array in self.batch.items()}
            yield Batch(inputs, {TARGET: self.targets[part]})

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterator[Batch]:  # noqa: ARG002
        return self.ordered(batch_size)

    def view(self, number: int, batch_size: int) -> Iterator[Batch]:  # noqa: ARG002
        return self.ordered(batch_size)

    def batches(self, batch_size: int) -> int:
        return -(-len(self) // batch_size)


def text_split(count: int, seed: int) -> TextSplit:
    """Texts of up to 24 tokens, with the answers of the encoder as classes."""
    batch = feeds(count, 24, seed)
    with torch.no_grad():
        targets = encoder()(*(torch.from_numpy(array) for array in batch.values())).argmax(1)
    return TextSplit(batch, targets)
