import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compress.models import checkpoint
from compress.models import module_replacement as parts
from compress.models.factory import build_model
from compress.models.settings import ModelSettings


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.act, self.last = nn.Linear(4, 6), nn.Hardswish(inplace=True), nn.Linear(6, 2)
        self.shared = nn.Sequential(self.act, nn.Sequential(nn.Linear(6, 6), nn.SiLU()))
        self.layer = nn.TransformerEncoderLayer(6, 2, 8, activation="gelu", batch_first=True)
        self.function = F.silu

    def forward(self, x):
        x = self.function(self.shared(self.act(self.first(x))))
        return self.last(self.layer(x[:, None])[:, 0])


PLACES = {"act": "relu6", "shared.0": "relu6", "shared.1": "identity", "layer.activation": "relu", "function": "relu6"}


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval()


def test_parts_are_put_in_place_and_told_again(net):
    before = Net()
    parts.set_submodule(net, PLACES)
    assert parts.find_replaceable(net, before) == PLACES
    assert parts.find_replaceable(before, before) == {}
    assert net.act is net.shared[0]
    assert net.act.inplace
    assert not net.act.training
    assert net.function is F.relu6
    assert net.layer.activation_relu_or_gelu == 1


def test_they_survive_a_checkpoint_as_data(net, tmp_path):
    parts.set_submodule(net, PLACES)
    checkpoint.save(net, Net(), tmp_path / "m.safetensors")
    reference = Net()
    back = checkpoint.load(tmp_path / "m.safetensors", reference)
    x = torch.randn(3, 4) * 5
    with torch.no_grad():
        assert torch.equal(back(x), net(x))
    assert back.act is back.shared[0]
    assert back.function is F.relu6
    assert isinstance(reference.act, nn.Hardswish)
    assert reference.function is F.silu


@pytest.mark.parametrize("place", ["nothing", "act.nothing", "first.weight", "training", "forward", "no.such.place"])
def test_a_place_that_is_none_is_refused(net, place):
    with pytest.raises(KeyError, match=place):
        parts.set_submodule(net, {place: "relu"})


def test_a_function_cannot_be_nothing(net):
    with pytest.raises(KeyError, match="function"):
        parts.set_submodule(net, {"function": "identity"})


def test_a_file_source_brings_the_parts_back(make_spec, tmp_path):
    spec = make_spec(size=32, classes=4)
    settings = ModelSettings(source="torchvision:mobilenet_v3_small")
    one, other = (build_model(settings, spec, seed=seed, base=tmp_path).module for seed in (0, 1))
    parts.set_submodule(one, {"features.0.2": "relu6", "features.1.block.1": "identity"})
    checkpoint.save(one, other, tmp_path / "adapted.safetensors")
    source = ModelSettings(source="file:adapted.safetensors", architecture="torchvision:mobilenet_v3_small")
    back = build_model(source, spec, seed=2, base=tmp_path).module
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(back(x), one(x))
