"""Small random networks with the constructs that pruning meets, and a reference for what removing channels must compute."""

import copy
import random

import torch
from torch import nn
from torch.nn import functional as F

ACTIVATIONS = (nn.ReLU, nn.Sigmoid, nn.Softplus, nn.Tanh, nn.GELU)


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)


class Shuffle(nn.Module):
    def forward(self, x):
        return x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)


class SplitConcat(nn.Module):
    """Two halves on different paths, joined again."""

    def __init__(self, width):
        super().__init__()
        self.left, self.right = nn.Conv2d(width // 2, width // 2, 1), nn.Conv2d(width // 2, width // 2, 3, padding=1)

    def forward(self, x):
        a, b = x.chunk(2, 1)
        return torch.cat([self.left(a), self.right(b)], 1)


class Gate(nn.Module):
    """Squeeze and excitation, or one map for all channels."""

    def __init__(self, width, spatial):
        super().__init__()
        self.spatial, self.map = spatial, nn.Conv2d(width, 1 if spatial else width, 1)

    def forward(self, x):
        return x * self.map(x if self.spatial else x.mean((2, 3), keepdim=True)).sigmoid()


class Tokens(nn.Module):
    """Positions as tokens, with a layer norm and a hidden width."""

    def __init__(self, width):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        y = self.norm(x.flatten(2).transpose(1, 2))
        return x + self.down(F.gelu(self.up(y))).transpose(1, 2).reshape(x.shape)


class Twice(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.shared = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return self.shared(torch.relu(self.shared(x)))


class Functional(nn.Module):
    """A layer that is called, and whose weight is used again by a function."""

    def __init__(self, width):
        super().__init__()
        self.layer = nn.Conv2d(width, width, 1)

    def forward(self, x):
        return F.conv2d(torch.relu(self.layer(x)), self.layer.weight)


class Recurrent(nn.Module):
    def __init__(self, width, kind):
        super().__init__()
        self.rnn = kind(width, width, batch_first=True)

    def forward(self, x):
        return x + self.rnn(x.mean(2)[:, :, :3].transpose(1, 2))[0][:, -1, :, None, None]


def _block(draw, width):
    activation = draw.choice(ACTIVATIONS)()
    convolution = nn.Conv2d(width, width, 3, padding=1, groups=draw.choice((1, 1, 2, width)))
    norm = draw.choice((nn.BatchNorm2d(width), nn.GroupNorm(2, width), nn.Identity()))
    return draw.choice(
        (
            lambda: nn.Sequential(convolution, norm, activation),
            lambda: nn.Sequential(norm, convolution, activation),
            lambda: Residual(nn.Sequential(nn.Conv2d(width, width, 1), activation, nn.Conv2d(width, width, 3, padding=1))),
            lambda: nn.Sequential(convolution, Shuffle()),
            lambda: SplitConcat(width),
            lambda: Gate(width, spatial=draw.random() < 0.5),
            lambda: Tokens(width),
            lambda: Twice(width),
            lambda: Functional(width),
            lambda: Recurrent(width, draw.choice((nn.GRU, nn.LSTM))),
        )
    )()


def network(seed):
    draw = random.Random(seed)
    torch.manual_seed(seed)
    width = draw.choice((8, 12))
    blocks = [_block(draw, width) for _ in range(draw.randint(2, 4))]
    flat = draw.random() < 0.5
    tail = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, 4)]
    tail = tail if flat else [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 4)]
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), draw.choice(ACTIVATIONS)(), *blocks, *tail).eval()


def numbered(net):
    """A copy whose weights hold the number of the input channel that they multiply; those of norms their own number."""
    copied = copy.deepcopy(net)
    with torch.no_grad():
        for part in copied.modules():
            if isinstance(part, (nn.Conv2d, nn.Linear)):
                columns, groups = part.weight.shape[1], getattr(part, "groups", 1)
                group = torch.arange(len(part.weight)) // (len(part.weight) // groups)
                numbers = group[:, None] * columns + torch.arange(columns)[None]
                part.weight.copy_(numbers.view(*numbers.shape, *[1] * (part.weight.dim() - 2)).expand_as(part.weight))
            elif isinstance(part, (nn.GroupNorm, nn.LayerNorm)):
                part.weight.copy_(torch.arange(len(part.weight)))
            elif isinstance(part, nn.RNNBase):
                part.weight_ih_l0.copy_(torch.arange(part.input_size).expand_as(part.weight_ih_l0))
    return copied


def without_readers(net, small):
    """The network in which nothing reads the channels that `small`, a pruned `numbered` copy, lacks."""
    masked, left = copy.deepcopy(net), dict(small.named_modules())
    for name, part in masked.named_modules():
        other = left[name]
        if isinstance(part, nn.RNNBase):
            keep = other.weight_ih_l0[0].round().long().tolist()
            part.register_forward_pre_hook(lambda _, args, keep=keep: (_only(args[0], keep, -1),))
        elif isinstance(part, (nn.Conv2d, nn.Linear)) and not 1 < getattr(part, "groups", 1) == len(part.weight):
            keep, dim = other.weight.round().long().unique().tolist(), 1 if isinstance(part, nn.Conv2d) else -1
            part.register_forward_pre_hook(lambda _, args, keep=keep, dim=dim: (_only(args[0], keep, dim),))
        elif isinstance(part, (nn.GroupNorm, nn.LayerNorm)):
            keep = other.weight.round().long().tolist()
            part.register_forward_hook(lambda norm, args, out, keep=keep: _normalized(norm, args[0], out, keep))
    return masked


def _only(x, keep, dim):
    mask = torch.zeros(x.shape[dim], dtype=x.dtype)
    mask[keep] = 1
    return x * (mask if dim == -1 else mask.view(-1, 1, 1))


def _normalized(norm, x, out, keep):
    dim = 1 if isinstance(norm, nn.GroupNorm) else -1
    index = torch.tensor(keep)
    part, weight, bias = x.index_select(dim, index), norm.weight[index], norm.bias[index]
    if dim == 1:
        part = F.group_norm(part, norm.num_groups, weight, bias, norm.eps)
    else:
        part = F.layer_norm(part, (len(keep),), weight, bias, norm.eps)
    return out.index_copy(dim, index, part)
