"""Tiny networks as ONNX files of another origin: a CNN, a transformer on tokens, a segmenter."""

from __future__ import annotations

import io
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.backends.exporter_messages import quiet_exporters


class TinyCnn(nn.Module):
    """Inverted residuals with squeeze-excite, hard swish and PReLU, as MobileNetV3 has them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish())
        self.expand = nn.Sequential(nn.Conv2d(16, 32, 1, bias=False), nn.BatchNorm2d(32), nn.PReLU(32))
        self.depth = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.squeeze, self.excite = nn.Conv2d(32, 8, 1), nn.Conv2d(8, 32, 1)
        self.project = nn.Conv2d(32, 16, 1)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.depth(self.expand(x))
        y = y * F.hardsigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1)))))
        x = F.max_pool2d(x + self.project(y), 2)
        return self.head(x.mean((2, 3)))


class TinyTransformer(nn.Module):
    """Token and position embeddings, attention by hand, an MLP with GELU, layer norm; a mask of padding."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(20, 16), nn.Parameter(torch.randn(1, 8, 16))
        self.before, self.after = nn.LayerNorm(16), nn.LayerNorm(16)
        self.query, self.key, self.value, self.out = (nn.Linear(16, 16) for _ in range(4))
        self.wide, self.narrow, self.head = nn.Linear(16, 48), nn.Linear(48, 16), nn.Linear(16, 3)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.tokens(ids) + self.places
        y = self.before(x)
        q, k, v = (layer(y).unflatten(2, (2, 8)).transpose(1, 2) for layer in (self.query, self.key, self.value))
        scores = q @ k.transpose(2, 3) / 8**0.5
        scores = scores.masked_fill(mask[:, None, None] == 0, -1e4)
        x = x + self.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        x = x + self.narrow(F.gelu(self.wide(self.after(x))))
        return self.head(x[:, 0])


class TinySegmenter(nn.Module):
    """An encoder, group norm, a transposed convolution, a skip, and an output of the size of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 12, 3, 2, 1), nn.Conv2d(12, 24, 3, 2, 1)
        self.norm, self.up = nn.GroupNorm(3, 24), nn.ConvTranspose2d(24, 12, 2, 2)
        self.fuse, self.classes = nn.Conv2d(24, 12, 3, padding=1), nn.Conv2d(12, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        near = F.relu(self.first(x))
        deep = F.silu(self.norm(self.second(near)))
        fused = F.relu(self.fuse(torch.cat([self.up(deep), near], 1)))
        return F.interpolate(self.classes(fused), size=x.shape[2:], mode="bilinear", align_corners=False)


NETWORKS: dict[str, tuple[type[nn.Module], tuple[Tensor, ...], tuple[str, ...]]] = {
    "cnn": (TinyCnn, (torch.randn(2, 3, 16, 16),), ("image",)),
    "transformer": (TinyTransformer, (torch.randint(0, 20, (2, 8)), torch.ones(2, 8, dtype=torch.int64)), ("ids", "mask")),
    "segmenter": (TinySegmenter, (torch.randn(2, 3, 16, 16),), ("image",)),
}


def write_network(kind: str, path: Path, *, dynamo: bool = False, batch: str | None = "n", opset: int = 17) -> nn.Module:
    """Export one of `NETWORKS` as its maker would.

    Args:
        kind: Its name.
        path: Of the file.
        dynamo: Which of torch's exporters.
        batch: Name of the free first axis; None fixes it to 1.
        opset: Operator set.
    """
    build, inputs, names = NETWORKS[kind]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build()
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.uniform_(part.running_mean, -0.3, 0.3)
                nn.init.uniform_(part.running_var, 0.5, 1.5)
    network.eval()
    inputs = inputs if batch else tuple(values[:1] for values in inputs)
    if dynamo:
        axes = tuple({0: torch.export.Dim(batch)} for _ in inputs) if batch else None
        with quiet_exporters():
            program = torch.onnx.export(
                network, inputs, dynamo=True, opset_version=opset, input_names=list(names), dynamic_shapes=axes, verbose=False
            )
        assert program is not None
        onnx.save(program.model_proto, path)
        return network
    buffer, free = io.BytesIO(), {name: {0: batch} for name in names} if batch else None
    with quiet_exporters():
        torch.onnx.export(
            network, inputs, buffer, dynamo=False, opset_version=opset, input_names=list(names), dynamic_axes=free
        )
    path.write_bytes(buffer.getvalue())
    return network
