from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import utils
from torch.nn.utils import parametrizations, parametrize, prune

from compress.core.errors import ModelError
from compress.core.sentences import render
from compress.models.plain_weights import copy_with_plain_weights

INPUTS = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4))


def masked(layer: nn.Module) -> None:
    prune.l1_unstructured(layer, "weight", 0.5)
    prune.random_unstructured(layer, "weight", 0.2)


def old_weight_norm(layer: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        utils.weight_norm(layer)


def old_spectral_norm(layer: nn.Module) -> None:
    utils.spectral_norm(layer)


class Halved(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


def halved(layer: nn.Module) -> None:
    parametrize.register_parametrization(layer, "weight", Halved())


@pytest.mark.parametrize(
    ("change", "origin"),
    [
        (masked, "PruningContainer"),
        (old_weight_norm, "weight norm"),
        (old_spectral_norm, "spectral norm"),
        (parametrizations.weight_norm, "WeightNorm"),
        (parametrizations.spectral_norm, "SpectralNorm"),
        (halved, "Halved"),
    ],
)
def test_computed_weights_become_plain_ones_of_the_same_function(change: Callable[[nn.Module], object], origin: str) -> None:
    net, plain = network(), network()
    change(net[0])
    net.train()(INPUTS)
    before = list(net.state_dict())
    net.eval()
    copied, (note,) = copy_with_plain_weights(net)
    torch.testing.assert_close(copied(INPUTS), net(INPUTS))
    assert set(copied.state_dict()) == set(plain.state_dict())
    assert [type(part) for part in copied.modules()] == [type(part) for part in plain.modules()]
    assert all(parameter.requires_grad for parameter in copied.parameters())
    assert list(net.state_dict()) == before
    assert (note.subject, note.values["origin"]) == ("0.weight", origin)
    assert "0.weight" in render(note)


def test_a_frozen_layer_stays_frozen() -> None:
    net = network()
    parametrizations.weight_norm(net[0]).requires_grad_(False)
    copied, _ = copy_with_plain_weights(net.eval())
    trained = {name: parameter.requires_grad for name, parameter in copied.named_parameters()}
    assert trained == {"0.weight": False, "0.bias": False, "3.weight": True, "3.bias": True}


def test_a_network_that_cannot_be_copied_is_refused_in_words() -> None:
    class Uncopyable(nn.Module):
        def __deepcopy__(self, memo: object) -> nn.Module:
            raise TypeError("not twice")

    with pytest.raises(ModelError, match="cannot be copied: TypeError: not twice"):
        copy_with_plain_weights(nn.Sequential(Uncopyable()))
