from __future__ import annotations

import pytest
import torch
from torch import nn

from compress.backends.eval_mode import all_require_grad, eval_mode, module_device


def network() -> nn.Sequential:
    """In training mode, but for its batch norm; its convolution is frozen."""
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout())
    module[1].eval()
    module[0].requires_grad_(False)
    return module


def modes(module: nn.Module) -> list[bool]:
    return [part.training for part in module.modules()]


def test_each_submodule_returns_to_its_own_mode() -> None:
    module = network()
    before = modes(module)
    assert before == [True, True, False, True]
    with eval_mode(module):
        assert not any(modes(module))
    assert modes(module) == before
    with pytest.raises(RuntimeError), eval_mode(module):
        raise RuntimeError
    assert modes(module) == before


def requiring(module: nn.Module) -> set[str]:
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


def test_frozen_parameters_are_frozen_again_even_where_they_were_replaced() -> None:
    module = network()
    with all_require_grad(module):
        assert requiring(module) == {"0.weight", "0.bias", "1.weight", "1.bias"}
        module[0].weight = nn.Parameter(torch.ones(2, 1, 1, 1))
        del module[0]._parameters["bias"]  # a block may remove one as well
    assert requiring(module) == {"1.weight", "1.bias"}


def test_integer_parameters_never_require_gradients() -> None:
    module = nn.Module()
    module.index = nn.Parameter(torch.arange(3), requires_grad=False)
    with all_require_grad(module):
        assert requiring(module) == set()


def test_device_is_that_of_the_weights_and_the_cpu_without_any() -> None:
    assert module_device(nn.Linear(1, 1, device="meta")) == torch.device("meta")
    assert module_device(nn.ReLU()) == torch.device("cpu")
