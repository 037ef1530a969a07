import pytest
import torch
from torch import nn

from compress.core.errors import ModelError, TrainingError
from compress.train.settings import Training
from compress.train.trained_parts import TrainedParts
from tests.train.toy_training import conv_net, train


def test_only_the_named_parts_change_and_batch_norm_stays_as_it_is(tmp_path):
    module = conv_net()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    train(module, tmp_path, Training(epochs=2, batch_size=16, lr=0.02, parts=("6",)))
    changed = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"6.weight", "6.bias"}
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_frozen_parts_compute_as_in_evaluation_and_what_was_frozen_stays_frozen():
    network = nn.ModuleDict(
        {"a": nn.Sequential(nn.Linear(2, 2), nn.Dropout()), "b": nn.Sequential(nn.Linear(2, 2), nn.Dropout())}
    )
    network["b"][0].bias.requires_grad_(False)
    with TrainedParts(network, ("b",)) as parts:
        network.train()
        parts.set_modes()
        assert [each.requires_grad for each in network.parameters()] == [False, False, True, False]
        modes = {name: each.training for name, each in network.named_modules()}
        assert modes == {"": True, "a": False, "a.0": False, "a.1": False, "b": True, "b.0": True, "b.1": True}
    assert [each.requires_grad for each in network.parameters()] == [True, True, True, False]


def test_names_of_no_module_and_parts_without_weights_are_refused():
    with pytest.raises(ModelError, match="parts 'projektor' matches no module of this network"):
        TrainedParts(nn.ModuleDict({"projector": nn.Linear(1, 1)}), ("projektor",))
    with pytest.raises(TrainingError, match="parts: 1 have no weights"):
        TrainedParts(nn.Sequential(nn.Linear(1, 1), nn.ReLU()), ("1",))
