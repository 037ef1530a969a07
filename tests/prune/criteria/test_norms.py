import numpy as np
import pytest
import torch
import torch_pruning as tp
from torch import nn

from compress.prune.criteria import bn_scale, fpgm, l1, l2, lamp, magnitude
from compress.prune.criteria.norms import distances, lamp_scores
from compress.prune.structured import dependency_graph as groups
from compress.prune.structured.tolerant_graph import build_graph


class Chain(nn.Module):
    """Two convolutions with a batch norm between, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.two = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(torch.relu(self.two(torch.relu(self.norm(self.one(x))))).mean((2, 3)))


@pytest.fixture
def chain():
    torch.manual_seed(0)
    net = Chain().eval()
    nn.init.uniform_(net.norm.weight, 0.1, 2.0)
    return net


@pytest.fixture
def group(chain, spec):
    """The channels of the first convolution."""
    return {group.root: group.tp_group for group in groups.find_groups(build_graph(chain, spec), chain)}["one"]


def _array(w):
    return w.detach().numpy().astype(np.float64)


def test_l1_and_l2_are_norms_of_the_filter_alone(chain, group):
    filters = _array(chain.one.weight).reshape(8, -1)
    for method, expected in ((l1, np.abs(filters).sum(1)), (l2, (filters**2).sum(1))):
        np.testing.assert_allclose(method().channels("one", group), expected / expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(l1().weights("", chain.one.weight), np.abs(_array(chain.one.weight)), rtol=1e-6)
    np.testing.assert_allclose(l2().weights("", chain.one.weight), _array(chain.one.weight) ** 2, rtol=1e-6)


def test_magnitude_counts_every_weight_that_goes_with_the_channel(chain, group):
    own = (_array(chain.one.weight) ** 2).sum((1, 2, 3))
    scale = _array(chain.norm.weight) ** 2
    readers = (_array(chain.two.weight) ** 2).sum((0, 2, 3))
    expected = own + scale + readers
    np.testing.assert_allclose(magnitude().channels("one", group), expected / expected.mean(), rtol=1e-5)


def test_bn_scale_is_the_scale_of_the_batch_norm_and_silent_without_one(chain, group, spec):
    expected = np.abs(_array(chain.norm.weight))
    np.testing.assert_allclose(bn_scale().channels("one", group), expected / expected.mean(), rtol=1e-5)
    other = {group.root: group.tp_group for group in groups.find_groups(build_graph(chain, spec), chain)}["two"]
    assert bn_scale().channels("two", other) is None


def test_fpgm_is_the_distance_to_all_other_filters(chain, group):
    filters = _array(chain.one.weight).reshape(8, -1)
    expected = np.array([sum(np.sqrt(((a - b) ** 2).sum()) for b in filters) for a in filters])
    np.testing.assert_allclose(distances(chain.one.weight), expected, rtol=1e-6)
    np.testing.assert_allclose(fpgm().channels("one", group), expected / expected.mean(), rtol=1e-6)


def test_fpgm_finds_the_filter_that_others_can_stand_in_for():
    w = torch.tensor([[4.0, 0.0], [-4.0, 0.0], [0.0, 4.0], [0.0, -4.0], [0.1, 0.1]])
    assert int(distances(w).argmin()) == 4
    negated = torch.tensor([[1.0], [-1.0]])  # as far apart as any two: the sign counts
    assert distances(negated).tolist() == [2.0, 2.0]


def test_lamp_is_the_share_of_what_would_be_left_of_the_layer(chain):
    w = _array(chain.two.weight).ravel()
    expected = [u**2 / sum(v**2 for v in w if abs(v) >= abs(u)) for u in w]
    np.testing.assert_allclose(lamp_scores(chain.two.weight).ravel(), expected, rtol=1e-9)
    np.testing.assert_array_equal(lamp().weights("", chain.two.weight), lamp_scores(chain.two.weight))


def test_lamp_gives_the_best_of_every_layer_one_and_a_zero_nothing():
    scores = lamp_scores(torch.tensor([0.0, 1e-12, 3.0]))
    assert (scores[0], scores[2]) == (0.0, 1.0)
    assert lamp_scores(torch.zeros(3)).tolist() == [0.0, 0.0, 0.0]


def test_lamp_of_channels_is_torch_prunings(group):
    torch.testing.assert_close(lamp().channels("one", group), tp.importance.LAMPImportance()(group))
    assert float(lamp().channels("one", group).max()) == pytest.approx(1.0)


@pytest.mark.parametrize("method", [bn_scale, fpgm])
def test_what_has_no_score_for_single_weights_says_so(method, chain):
    with pytest.raises(TypeError, match="scores channels"):
        method().weights("one.weight", chain.one.weight)
