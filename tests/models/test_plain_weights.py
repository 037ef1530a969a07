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


class Listed(nn.Module):
    """Calls one layer under two names and from a list."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self.second = nn.Linear(4, 4)
        self.listed = [self.first]

    def forward(self, x: Tensor) -> Tensor:
        return self.listed[0](self.second(self.first(x)))


def test_every_reference_to_a_computed_layer_leads_to_its_plain_copy() -> None:
    net = Listed().eval()
    parametrizations.weight_norm(net.first)
    kind, inputs = type(net.first), torch.randn(2, 4)
    copied, notes = copy_with_plain_weights(net)
    assert isinstance(copied, Listed)
    assert copied.first is copied.second is copied.listed[0]
    assert type(copied.first) is nn.Linear
    torch.testing.assert_close(copied(inputs), net(inputs))
    assert [note.subject for note in notes] == ["first.weight"]
    assert type(net.first) is kind
    assert parametrize.is_parametrized(net.second, "weight")


def test_a_network_that_is_one_computed_layer_keeps_its_attributes_and_buffers() -> None:
    layer = nn.BatchNorm2d(3, eps=0.25)
    layer.running_mean = torch.tensor([1.0, 2.0, 3.0])
    parametrize.register_parametrization(layer, "weight", Halved())
    parametrize.register_parametrization(layer, "running_var", Halved())
    copied, _ = copy_with_plain_weights(layer.eval())
    torch.testing.assert_close(copied(INPUTS), layer(INPUTS))
    assert {name for name, _ in copied.named_buffers()} == {"running_mean", "running_var", "num_batches_tracked"}


def test_the_callers_network_in_training_mode_is_left_as_it_is() -> None:
    net = network()
    parametrizations.spectral_norm(net[0])
    net.train()(INPUTS)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    copy_with_plain_weights(net)
    assert net.training
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)


def test_a_parametrization_that_fails_is_named() -> None:
    class Failing(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            if not self.training:
                raise RuntimeError("not in eval mode")
            return weight

    net = network()
    parametrize.register_parametrization(net[3], "weight", Failing())
    with pytest.raises(ModelError, match=r"3\.weight is computed by Failing and cannot be .*: not in eval mode; remove it"):
        copy_with_plain_weights(net)
