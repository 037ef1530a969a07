"""Small random networks of the blocks that real ones are made of, and what pruning by zeros makes of them."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.core.network_spec import image_spec

SIDE, CLASSES = 12, 5
SPEC = image_spec(
    channels=3, height=SIDE, width=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3, classes=tuple(f"class {k}" for k in range(CLASSES))
)
ACTIVATIONS: tuple[Callable[[], nn.Module], ...] = (nn.ReLU, nn.SiLU, nn.GELU, nn.Hardswish, nn.LeakyReLU)
"""All are 0 at 0, so that a channel of zeros stays one."""


def norm(draw: random.Random, width: int) -> nn.Module:
    kind = draw.choice(("batch", "batch", "group", "none"))
    if kind == "group":
        return nn.GroupNorm(draw.choice([groups for groups in (1, 2, 4) if width % groups == 0]), width)
    return nn.BatchNorm2d(width) if kind == "batch" else nn.Identity()


def conv_block(draw: random.Random, width: int, out: int) -> nn.Module:
    groups = draw.choice([groups for groups in (1, 1, 2, width) if width % groups == 0 and out % groups == 0])
    kernel = draw.choice((1, 3))
    conv = nn.Conv2d(width, out, kernel, padding=kernel // 2, groups=groups)
    return nn.Sequential(conv, norm(draw, out), draw.choice(ACTIVATIONS)())


class Residual(nn.Module):
    """x + f(x)."""

    def __init__(self, draw: random.Random, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_block(draw, width, 2 * width), conv_block(draw, 2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class SharedTwice(nn.Module):
    """One convolution in two places, with a batch norm behind the first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(torch.relu(self.norm(self.conv(x))))


class Siamese(nn.Module):
    """One block on the map and on its mirror image."""

    def __init__(self, draw: random.Random, width: int, out: int) -> None:
        super().__init__()
        self.body = conv_block(draw, width, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.body(x.flip(3)).flip(3)


class SplitConcat(nn.Module):
    """Half of the channels passes by, as in ShuffleNetV2."""

    def __init__(self, draw: random.Random, width: int) -> None:
        super().__init__()
        self.body, self.by_slice = conv_block(draw, width // 2, width // 2), draw.random() < 0.5

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[1] // 2
        a, b = (x[:, :half], x[:, half:]) if self.by_slice else x.chunk(2, 1)
        return torch.cat([a, self.body(b)], 1)


class DenseConcat(nn.Module):
    """Input and output together, as in DenseNet."""

    def __init__(self, draw: random.Random, width: int, growth: int) -> None:
        super().__init__()
        self.body = conv_block(draw, width, growth)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], 1)


class Shuffle(nn.Module):
    """Channel shuffle by views, then a grouped convolution."""

    def __init__(self, draw: random.Random, width: int) -> None:
        super().__init__()
        self.groups = draw.choice((2, 4))
        self.conv = nn.Conv2d(width, width, 1, groups=self.groups)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        shuffled = x.view(n, self.groups, c // self.groups, h, w).transpose(1, 2).reshape(n, c, h, w)
        return torch.relu(self.conv(shuffled))


class Gated(nn.Module):
    """Squeeze-excite."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Linear(width, width // 2), nn.Linear(width // 2, width)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3))))))
        return x * gate[:, :, None, None]


class LayerNormBlock(nn.Module):
    """Channels last, as in ConvNeXt."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm, self.wide, self.narrow = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.spatial(x).permute(0, 2, 3, 1))
        return x + self.narrow(F.gelu(self.wide(y))).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Self-attention over the pixels; torch's module, or projections and views."""

    def __init__(self, draw: random.Random, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attend = nn.MultiheadAttention(width, 2, batch_first=True) if draw.random() < 0.5 else None
        self.qkv, self.proj = (None, None) if self.attend else (nn.Linear(width, 3 * width), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        if self.attend is not None:
            y = self.attend(tokens, tokens, tokens, need_weights=False)[0]
        else:
            q, k, v = self.qkv(tokens).view(n, h * w, 3, 2, c // 2).permute(2, 0, 3, 1, 4)
            y = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, h * w, c))
        return x + y.transpose(1, 2).reshape(n, c, h, w)


class Recurrence(nn.Module):
    """A recurrent layer along the rows of the averaged map."""

    def __init__(self, draw: random.Random, width: int) -> None:
        super().__init__()
        self.cell = draw.choice((nn.GRU, nn.LSTM, nn.RNN))(width, width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.cell(x.mean(3).transpose(1, 2))
        return x + y.transpose(1, 2).unsqueeze(3)


class RandomNetwork(nn.Module):
    """Stem, blocks of random kinds, head. Weights, biases and statistics are random.

    Args:
        seed: Determines everything else.
        most: Largest number of blocks.
    """

    def __init__(self, seed: int, most: int = 4) -> None:
        super().__init__()
        draw = random.Random(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            width = draw.choice((8, 16))
            blocks: list[nn.Module] = [
                nn.Conv2d(3, width, 3, padding=1, stride=draw.choice((1, 2))),
                norm(draw, width),
                nn.ReLU(),
            ]
            for _ in range(draw.randint(1, most)):
                block, width = _random_block(draw, width)
                blocks.append(block)
                if draw.random() < 0.2:
                    blocks.append(draw.choice((nn.MaxPool2d, nn.AvgPool2d))(2, 1))
            self.body = nn.Sequential(*blocks)
            self.hidden, self.head = nn.Linear(width, 16), nn.Linear(16, CLASSES)
            _randomize(self)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.hidden(self.body(x).mean((2, 3)))))


def _random_block(draw: random.Random, width: int) -> tuple[nn.Module, int]:
    wider = draw.choice((8, 12, 16, 24))
    kind = draw.randrange(11)
    if kind == 0:
        return conv_block(draw, width, wider), wider
    if kind == 1:
        return Siamese(draw, width, wider), wider
    if kind == 2:
        return DenseConcat(draw, width, 8), width + 8
    same: tuple[Callable[[], nn.Module], ...] = (
        lambda: Residual(draw, width), lambda: SharedTwice(width), lambda: SplitConcat(draw, width),
        lambda: Shuffle(draw, width), lambda: Gated(width), lambda: LayerNormBlock(width),
        lambda: Attention(draw, width), lambda: Recurrence(draw, width),
    )  # fmt: skip
    return same[kind - 3](), width


@torch.no_grad()
def _randomize(network: nn.Module) -> None:
    """Biases that differ from each other, norms that are not the identity."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2.0)
        if isinstance(module, (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)):
            module.weight.uniform_(0.5, 1.5)
        for name, parameter in module.named_parameters(recurse=False):
            if "bias" in name:
                parameter.normal_(std=0.3)


def zeroed_outputs(dense: nn.Module, pruned: nn.Module, x: Tensor) -> Tensor:
    """Outputs of the dense network with every channel at zero that the pruned one lacks; norms skip these channels.

    Which channels those are is read off the biases, whose values are unique. So this is independent of the dependency graph.
    """
    dense, parts = copy.deepcopy(dense), dict(pruned.named_modules())
    for name, module in dense.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)):
            module.register_forward_hook(_mask_hook(module, parts[name]))
        elif isinstance(module, nn.MultiheadAttention):
            _zero_values(module, parts[name])
    with torch.no_grad():
        return dense(x)


@torch.no_grad()
def _zero_values(attention: nn.MultiheadAttention, smaller: nn.Module) -> None:
    """Heads without values give zeros."""
    bias, remaining = attention.in_proj_bias.chunk(3)[2], smaller.in_proj_bias.chunk(3)[2]
    gone = ~torch.isin(bias, remaining)
    attention.in_proj_weight.chunk(3)[2][gone] = 0.0
    bias[gone] = 0.0


def _mask_hook(module: nn.Module, smaller: nn.Module) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    mask = torch.isin(module.bias, smaller.bias)

    def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        y = torch.zeros_like(output)
        weight, bias = module.weight[mask], module.bias[mask]
        if isinstance(module, nn.GroupNorm):
            y[:, mask] = F.group_norm(inputs[0][:, mask], smaller.num_groups, weight, bias, module.eps)
        elif isinstance(module, nn.LayerNorm):
            y[..., mask] = F.layer_norm(inputs[0][..., mask], (len(bias),), weight, bias, module.eps)
        else:
            y = output * (mask if isinstance(module, nn.Linear) else mask.view(1, -1, 1, 1))
        return y

    return hook
