"""Networks for anomaly detection: students that give the features of a frozen reference network, and the distance between them.

                      ┌─ reference, frozen ─ f_1 … f_L ─┐
    image ────────────┤                                 ├─ distance at each level ─ map ─ score = max over the map
                      └─ students, trained ─ s_1 … s_L ─┘

Both are one network and one file. The students learn on good parts alone, and fail to follow the reference on what they never
saw: Bergmann et al. 2020, "Uninformed Students", CVPR, arXiv:1911.02357; with features of several levels, normalised to
length 1 at each place, Wang et al. 2021, "Student-Teacher Feature Pyramid Matching", arXiv:2103.04257.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.core.language import gettext

STRIDES = (4, 8, 16)
"""Of the levels that are compared, as in Wang et al. 2021."""
SMALLEST_NORM = 1e-6


def feature_distance(reference: Tensor, student: Tensor) -> Tensor:
    """Half the squared distance of two feature maps whose vectors have length 1 at each place.

        d(x, y) = ½ ‖f / ‖f‖ − s / ‖s‖‖²  =  1 − cos(f, s)

    Args:
        reference: f, (N, C, h, w).
        student: s, likewise.

    Returns:
        (N, 1, h, w), in [0, 2].
    """
    difference = _unit_length(reference) - _unit_length(student)
    return 0.5 * (difference * difference).sum(dim=1, keepdim=True)


def _unit_length(features: Tensor) -> Tensor:
    norm = (features * features).sum(dim=1, keepdim=True).sqrt()
    return features / norm.clamp(min=SMALLEST_NORM)


class ConvLevels(nn.Module):
    """A small convolutional network with features at several strides: two convolutions at each, the first of stride 2.

    Args:
        in_channels: C.
        width: Channels at stride 2; twice as many at each further stride.
        outputs: Channels of the features of each level, made by 1×1 convolutions; None for those of the body itself.
        strides: Of the levels, powers of 2 from 4 on, ascending.
    """

    def __init__(
        self, in_channels: int, width: int, outputs: Sequence[int] | None = None, strides: Sequence[int] = STRIDES
    ) -> None:
        super().__init__()
        if width < 1:
            msg = gettext("width {width}; it must be above 0", width=width)
            raise ValueError(msg)
        depths = [stride.bit_length() - 1 for stride in strides]
        widths = [width * 2**depth for depth in range(depths[-1])]
        self.strides = tuple(strides)
        self.body = nn.ModuleList(
            nn.Sequential(_conv(widths[depth - 1] if depth else in_channels, wide, stride=2), _conv(wide, wide))
            for depth, wide in enumerate(widths)
        )
        self.taken = tuple(depth - 1 for depth in depths)
        self.widths = tuple(widths[depth] for depth in self.taken)
        self.heads = nn.ModuleList(
            nn.Conv2d(wide, size, 1) for wide, size in zip(self.widths, outputs or (), strict=bool(outputs))
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of each level, the finest first, (N, C_l, H / stride, W / stride), rounded up."""
        features: list[Tensor] = []
        x = image
        for depth, part in enumerate(self.body):
            x = part(x)
            if depth in self.taken:
                features.append(x)
        return [head(level) for head, level in zip(self.heads, features, strict=True)] if self.heads else features


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class BackboneLevels(nn.Module):
    """The first layers of a classification network, with its features at several strides; layers after the last are left out.

    Args:
        network: Whose layers follow each other: with a `features` of layers in a row, as torchvision's MobileNets and
            EfficientNets have it, or a ResNet.
        image: An example, (N, C, H, W), on which the strides of the layers are found.
        strides: Of the levels.

    Raises:
        ValueError: Its layers are not known, or none has one of the strides.
    """

    def __init__(self, network: nn.Module, image: Tensor, strides: Sequence[int] = STRIDES) -> None:
        super().__init__()
        layers = _layers_in_a_row(network)
        sizes = _strides_of(layers, image)
        last = {size: index for index, size in enumerate(sizes)}
        if missing := [stride for stride in strides if stride not in last]:
            msg = gettext(
                "it has no features of stride {missing} but of {last}",
                missing=", ".join(map(str, missing)),
                last=", ".join(map(str, last)),
            )
            raise ValueError(msg)
        ends = [last[stride] + 1 for stride in strides]
        self.parts = nn.ModuleList(nn.Sequential(*layers[start:end]) for start, end in zip([0, *ends[:-1]], ends, strict=True))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of each level, the finest first."""
        features: list[Tensor] = []
        x = image
        for part in self.parts:
            x = part(x)
            features.append(x)
        return features


def _layers_in_a_row(network: nn.Module) -> list[nn.Module]:
    features = getattr(network, "features", None)
    if isinstance(features, nn.Sequential):
        return list(features)
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    if all(isinstance(getattr(network, name, None), nn.Module) for name in names):
        return [getattr(network, name) for name in names]
    msg = gettext(
        "the layers of {kind} are not known; use a torchvision MobileNet, EfficientNet or ResNet", kind=type(network).__name__
    )
    raise ValueError(msg)


@torch.no_grad()
def _strides_of(layers: Sequence[nn.Module], image: Tensor) -> list[int]:
    """Stride of the features behind each layer."""
    modes = [layer.training for layer in layers]
    x, strides = image, list[int]()
    for layer in layers:
        x = layer.eval()(x)
        strides.append(round(image.shape[-1] / x.shape[-1]))
    for layer, mode in zip(layers, modes, strict=True):
        layer.train(mode)
    return strides


class AnomalyNetwork(nn.Module):
    """Reference and students, and the distance between their features.

        map(x, y) = 1/L Σ_l 1/E Σ_e d(f_l, s_{e,l})            maps of coarser levels enlarged to the finest

    For an ensemble of E students this is what Bergmann et al. sum up: with the mean of the students s̄,

        1/E Σ_e ‖f − s_e‖²  =  ‖f − s̄‖²  +  1/E Σ_e ‖s_e − s̄‖²          regression error + predictive variance

    (not scaled to equal deviations on validation, as there), and its mean over the places is the loss of each student.

    Args:
        reference: Gives its features, a list of (N, C_l, h_l, w_l), the finest first. Its weights are frozen. Pruning may still
            remove its channels: the students learn from what is left.
        students: Give features of the same shapes.
        counts_statistics: Whether batch norms of the reference count their statistics in training, as they must where its
            weights are random; else they never leave eval mode.
    """

    def __init__(self, reference: nn.Module, students: Sequence[nn.Module], *, counts_statistics: bool = False) -> None:
        super().__init__()
        if not students:
            msg = gettext("there are no students; give one or more")
            raise ValueError(msg)
        self.reference = _Frozen(reference, counts_statistics=counts_statistics)
        self.students = nn.ModuleList(students)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Score, (N,), and map, (N, h, w), at least 0, both of float32.

        Args:
            image: float32 (N, C, H, W), normalised.
        """
        targets = self.reference(image)
        maps: list[Tensor] = []
        for student in self.students:
            for level, (features, own) in enumerate(zip(targets, student(image), strict=True)):
                distance = feature_distance(features, own)
                maps.append(F.interpolate(distance, size=maps[0].shape[-2:], mode="bilinear") if level else distance)
        heat = torch.cat(maps, dim=1).mean(dim=1)
        return heat.flatten(1).amax(dim=1), heat


class _Frozen(nn.Module):
    """A network that is not trained.

    Args:
        network: Its weights stop asking for gradients.
        counts_statistics: Whether its batch norms count their statistics in training.
    """

    def __init__(self, network: nn.Module, *, counts_statistics: bool) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(requires_grad=False)
        self.counts_statistics = counts_statistics

    def train(self, mode: bool = True) -> _Frozen:
        """Stay in eval mode, unless batch norms count their statistics."""
        return super().train(mode and self.counts_statistics)

    def forward(self, image: Tensor) -> list[Tensor]:
        features: list[Tensor] = self.network(image)
        return features
