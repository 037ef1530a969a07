"""Small networks whose layers are matched: two resolutions, transformers, a recurrent one."""

import torch
from torch import nn


def staged(seed=0, widths=(4, 6)):
    """Two resolutions in two named stages, with batch norm, an in-place ReLU and a head."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential()
        before = 3
        for number, width in enumerate(widths):
            block = nn.Sequential(
                nn.Conv2d(before, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
            )
            net.add_module(f"stage{number}", block)
            before = width
        net.add_module("pool", nn.AdaptiveAvgPool2d(1))
        net.add_module("flat", nn.Flatten())
        net.add_module("head", nn.Linear(before, 3))
        return net.eval()


class Transformer(nn.Module):
    """Patches of 4 × 4, blocks of attention, a head."""

    def __init__(self, depth, width=8, heads=2, patch=4):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(1))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Linear(width, width)

    def forward(self, x):
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return x + self.mlp(x)


class Recurrent(nn.Module):
    """Reads an image row by row."""

    def __init__(self):
        super().__init__()
        self.rows = nn.GRU(24, 8, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.rows(x.transpose(1, 2).flatten(2))[0][:, -1])


def seeded(make, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().eval()


INPUTS = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
