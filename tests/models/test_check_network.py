from collections import namedtuple

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from compress.core.errors import ModelError
from compress.core.network_spec import NetworkSpec, image_spec
from compress.core.sentences import render
from compress.core.signature import BATCH, Signature, TensorSpec
from compress.models.check_network import IN_PYTHON, check_each_alone, take_network
from compress.train.checkpoints import network_hash

SPEC = image_spec(channels=3, height=12, width=12, mean=(0.0,) * 3, std=(1.0,) * 3, classes=tuple("abcd"))
Outputs = namedtuple("Outputs", "logits auxiliary")


class Net(nn.Module):
    def __init__(self, answer=lambda y: y, norm=None):
        super().__init__()
        norm = norm or nn.BatchNorm2d(8)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
        self.answer = answer

    def forward(self, x):
        return self.answer(self.body(x))


class TwoInputs(Net):
    def forward(self, x, scale):
        return self.body(x) * scale


class Random(Net):
    def forward(self, x):
        return nn.functional.dropout(self.body(x), 0.5, training=True)


def meta():
    with torch.device("meta"):
        return nn.Linear(3, 4)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


REFUSED = {
    "dict": (lambda: Net(lambda y: {"logits": y}), "answers a batch of 2 with dict"),
    "tuple": (lambda: Net(lambda y: Outputs(y, y)), "answers a batch of 2 with Outputs"),
    "two inputs": (lambda: TwoInputs(), "missing 1 required positional argument: 'scale'; it must take one tensor"),
    "half": (lambda: Net().half(), r"weights of type torch.float16; .* call .float\(\)"),
    "lazy": (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(4)), r"without a shape \(1.weight, 1.bias\)"),
    "meta": (meta, "without values, on device meta"),
    "scripted": (lambda: torch.jit.trace(Net().eval(), torch.zeros(1, 3, 12, 12)), "scripted or traced"),
    "a function": (lambda: torch.relu, "a network must be a torch.nn.Module"),
    "too small": (lambda: nn.Sequential(nn.Conv2d(3, 4, 20), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "works from 20 pixels"),
    "classes": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(432, 5)), "answers for 5 classes, the data has 4"),
    "squeezed": (lambda: Net(torch.squeeze), "gives one sample an output of shape .* keep the batch dimension"),
    "batch statistics": (
        lambda: Net(norm=nn.BatchNorm2d(8, track_running_stats=False)),
        r"alone another output than in a batch .* body.1 \(BatchNorm2d without running statistics\)",
    ),
    "batch mean": (lambda: Net(lambda y: y - y.mean(0)), "a layer that computes over the batch dimension"),
    "image before": (lambda: Net(lambda y: torch.cat([y[:1], y[1:] + y[:-1]])), "a layer that computes over the batch"),
    "random": (Random, "different outputs each time"),
    "pairs only": (lambda: Net(lambda y: y.view(-1, 2, 4).flatten(0, 1)), "accepts two samples but not one"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("build", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_usable_network_is_refused_and_named(build, message):
    with pytest.raises(ModelError, match=message):
        take_network(build(), SPEC, "the network")


@pytest.mark.parametrize(
    ("build", "in_recipe", "in_python"),
    [
        (
            REFUSED["classes"][0],
            r"set args: \{num_classes: 5\}",
            r"a last layer of 4 outputs, .*from_loaders .* 5 classes",
        ),
        (REFUSED["too small"][0], r"raise data\.image_size to 20", "resize the images in the loaders to 20 pixels"),
        (REFUSED["two inputs"][0], r"change .* data\.channels", "the images that the loaders give"),
    ],
)
def test_the_advice_names_keys_of_a_recipe_or_arguments_of_python(build, in_recipe, in_python):
    with pytest.raises(ModelError, match=in_recipe):
        take_network(build(), SPEC, "the network")
    with pytest.raises(ModelError, match=in_python) as caught:
        take_network(build(), SPEC, "the network", IN_PYTHON)
    assert not any(key in str(caught.value) for key in ("image_size", "num_classes", "data.channels"))


def test_an_ordinary_network_is_copied_and_left_as_it_is():
    net = Net().train()
    net.body[0].requires_grad_(False)
    before, random_state = network_hash(net), torch.get_rng_state()
    copy, notes = take_network(net, SPEC, "the network")
    assert notes == ()
    assert network_hash(net) == network_hash(copy) == before
    assert net.training
    assert not copy.training
    assert copy.body[0].weight is not net.body[0].weight
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, AveragedModel, lambda net: nn.DataParallel(AveragedModel(net)), torch.compile]
)
def test_wrappers_are_taken_off_and_named(wrap):
    net = Net().eval()
    copy, notes = take_network(wrap(net), SPEC, "the network")
    assert type(copy) is Net
    x = torch.randn(2, 3, 12, 12)
    assert torch.equal(copy(x), net(x))
    assert notes
    assert "wrapper" in render(notes[0])


def test_a_dependence_on_the_batch_that_training_brought_is_found():
    net = Net(lambda y: y * net.scale + (1 - net.scale) * y.mean(0)).eval()
    net.scale = 1.0
    check_each_alone(net, (torch.randn(4, 3, 12, 12),), "the network")
    net.scale = 0.5
    with pytest.raises(ModelError, match="alone another output"):
        check_each_alone(net, (torch.randn(4, 3, 12, 12),), "the network")


def test_rounding_is_no_difference_where_another_image_has_no_finite_output():
    def undefined_for_the_second(x):
        y = x.flatten(1)[:, :4] * (1 + 1e-6 * (len(x) > 1))
        return y.masked_fill(x[:, :1, 0, 0] > 0.9, torch.nan)

    images = torch.rand(4, 3, 12, 12)
    images[:, 0, 0, 0] = torch.tensor([0.1, 0.95, 0.2, 0.3])
    check_each_alone(undefined_for_the_second, (images,), "the network")


def test_a_network_that_does_not_take_the_datas_inputs_is_told_which_they_are():
    signal = TensorSpec(name="signal", shape=(BATCH, 2, 40))
    spec = NetworkSpec(signature=Signature(inputs=(signal,), outputs=(TensorSpec(name="logits", shape=(BATCH, 3)),)))
    with pytest.raises(ModelError, match=r"mine cannot take signal: float32 batch×2×40, in this order: .*channels"):
        take_network(nn.Conv1d(3, 4, 3), spec, "mine")
