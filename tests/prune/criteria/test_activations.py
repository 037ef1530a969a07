import numpy as np
import pytest
import torch
from torch import nn

from compress.core.errors import ModelError
from compress.data.batch import Batch
from compress.prune.criteria import ScoringData, activation, apoz, wanda
from compress.prune.criteria.activations import per_input
from compress.prune.structured import dependency_graph as groups
from compress.prune.structured.tolerant_graph import build_graph
from compress.prune.unstructured.weights import prunable
from tests.prune.structured.text_networks import make_text_network, padded


class Reader(nn.Module):
    """A convolution with ReLU, read by a grouped convolution and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.two = nn.Conv2d(8, 8, 1, groups=2, bias=False)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.two(torch.relu(self.conv(x))).mean((2, 3)))


@pytest.fixture
def reader():
    torch.manual_seed(0)
    net = Reader().eval()
    with torch.no_grad():
        net.conv.bias[2] = -100.0  # dead behind its ReLU
    return net


def _material(data, task):
    return ScoringData([batch for _, batch in zip(range(2), data.train.ordered(8), strict=False)], task)


def _inputs(net, samples):
    """What the second convolution reads, (positions, 8), float64."""
    x = torch.cat([torch.relu(net.conv(batch.input)) for batch in samples.batches]).detach().double()
    return x.movedim(1, -1).reshape(-1, 8).numpy()


@pytest.fixture
def group(reader, spec):
    return {group.root: group.tp_group for group in groups.find_groups(build_graph(reader, spec), reader)}["conv"]


@pytest.mark.parametrize(
    ("method", "of"), [(apoz, lambda x: (x > 0).mean(0)), (activation, lambda x: np.abs(x).mean(0))], ids=["apoz", "activation"]
)
def test_channels_are_judged_by_what_their_readers_are_given(method, of, reader, data, task, group):
    scorer, samples = method(), _material(data, task)
    scorer.collect(reader, samples)
    expected = of(_inputs(reader, samples))
    result = scorer.channels("conv", group)
    np.testing.assert_allclose(result, expected / expected.mean(), rtol=1e-4)
    assert float(result[2]) == 0.0
    assert not hasattr(reader.two, "_importance")


def test_apoz_without_zeros_is_refused_with_what_to_use(data, task):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(144, 4)).eval()
    with pytest.raises(ModelError, match="use 'activation' or 'taylor'"):
        apoz().collect(net, _material(data, task))


def test_wanda_is_the_weight_times_the_norm_of_what_it_multiplies(reader, data, task, group):
    scorer, samples = wanda(), _material(data, task)
    scorer.collect(reader, samples)
    x = _inputs(reader, samples)
    norm = np.sqrt((x**2).mean(0))
    w = np.abs(reader.two.weight.detach().numpy().astype(np.float64))
    expected = np.stack([w[o] * norm[4 * (o // 4) : 4 * (o // 4) + 4, None, None] for o in range(8)])
    np.testing.assert_allclose(scorer.weights("two.weight", reader.two.weight), expected, rtol=1e-5)
    before = reader.conv.weight.clone()
    channels = scorer.channels("conv", group)
    assert channels.shape == (8,)
    assert float(channels.min()) > 0
    assert torch.equal(reader.conv.weight, before)


def test_wanda_sees_both_projections_of_attention(data, task):
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            tokens = x[:, 0]
            return self.head(self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(1))

    torch.manual_seed(0)
    net, samples, scorer = Attending().eval(), _material(data, task), wanda()
    scorer.collect(net, samples)
    attention = net.attention
    tokens = torch.cat([batch.input[:, 0] for batch in samples.batches]).double()
    w, b = attention.in_proj_weight.detach().double(), attention.in_proj_bias.detach().double()
    q, k, v = (
        (tokens @ part.T + bias).view(-1, 8, 2, 4).transpose(1, 2) for part, bias in zip(w.split(8), b.split(8), strict=True)
    )
    mixed = ((q @ k.transpose(2, 3) / 2).softmax(-1) @ v).transpose(1, 2).reshape(-1, 8)
    for name, x in (("attention.in_proj_weight", tokens.reshape(-1, 8)), ("attention.out_proj.weight", mixed)):
        p = net.get_parameter(name)
        expected = p.detach().double().abs() * x.square().mean(0).sqrt()
        torch.testing.assert_close(scorer.weights(name, p).double(), expected, rtol=1e-4, atol=1e-7)


def test_every_prunable_weight_has_a_wanda_score(residual, data, task):
    scorer = wanda()
    scorer.collect(residual, _material(data, task))
    assert all(scorer.weights(name, p).shape == p.shape for name, p in prunable(residual).items())


def test_input_numbers_meet_the_weights_that_multiply_them():
    x = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert per_input(x, torch.zeros(4, 2, 1, 1)).squeeze().tolist() == [[1, 2], [1, 2], [3, 4], [3, 4]]
    assert per_input(x, torch.zeros(4, 2, 1, 1), transposed=True).shape == (4, 1, 1, 1)


def test_scores_asked_for_too_early_say_what_to_do(reader, group):
    with pytest.raises(ValueError, match="call collect first"):
        activation().channels("conv", group)
    with pytest.raises(ValueError, match="call collect first"):
        wanda().weights("two.weight", reader.two.weight)


@pytest.mark.parametrize("method", [activation, wanda])
def test_padding_is_not_counted(method, tmp_path, task):
    pytest.importorskip("transformers")
    net, spec = make_text_network("bert", tmp_path)
    inputs = dict(zip((entry.name for entry in spec.signature.inputs), padded(spec), strict=True))
    shorter = {name: values[1:, : int(inputs["attention_mask"][1].sum())] for name, values in inputs.items()}
    root = "network.bert.encoder.layer.0.intermediate.dense"
    group = {group.root: group.tp_group for group in groups.find_groups(build_graph(net, spec), net)}[root]
    scores = []
    for given in ({name: values[1:] for name, values in inputs.items()}, shorter):
        scorer = method()
        scorer.collect(net, ScoringData([Batch(given, {"target": torch.zeros(1, dtype=torch.int64)})], task))
        scores.append(scorer.channels(root, group))
    torch.testing.assert_close(*scores)
