import gc
import weakref

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from compress.prune.criteria import ScoringData, fisher
from compress.prune.criteria.fisher import gate_gradients, input_gate_gradient
from compress.prune.criteria.gradients import per_sample_gradients
from compress.prune.structured import attention_heads as heads
from compress.prune.structured import dependency_graph as groups
from compress.prune.structured.tolerant_graph import build_graph


def _material(data, task):
    return ScoringData([batch for _, batch in zip(range(2), data.train.ordered(8), strict=False)], task)


class Gated(nn.Module):
    """Multiplies the input features of a weight by gates."""

    def __init__(self, gates):
        super().__init__()
        self.gates = gates

    def forward(self, w):
        return w * self.gates.view(1, -1, *[1] * (w.dim() - 2))


def _squares(net, weights, gates, given):
    """Σ over samples of (Σ over the gated weights of ∂L/∂gates)², by autograd through gates that are really there."""
    work = net.double()
    for part, name in weights:
        parametrize.register_parametrization(part, name, Gated(gates), unsafe=True)
    total = torch.zeros_like(gates)
    for batch in given.batches:
        for x, y in zip(batch.input.double(), batch.target, strict=True):
            total += torch.autograd.grad(given.task.loss({"logits": work(x[None])}, {"target": y[None]}), gates)[0].square()
    return total.detach()


def test_a_channels_score_is_the_squared_gradient_of_a_gate_on_all_that_read_it(residual, data, task, spec):
    found = {group.root: group for group in groups.find_groups(build_graph(residual, spec), residual)}
    given, scorer = _material(data, task), fisher()
    scorer.collect(residual, given)
    shared = next(group for group in found.values() if "project.0" in group.layers)
    mine = {
        "between": scorer.channels("depth.0", found["depth.0"].tp_group if "depth.0" in found else found["expand.0"].tp_group),
        "shared": scorer.channels(shared.root, shared.tp_group),
    }
    readers = {"between": [residual.project[0]], "shared": [residual.expand[0], residual.head]}
    for what, parts in readers.items():
        gates = torch.ones(len(mine[what]), dtype=torch.float64, requires_grad=True)
        expected = _squares(residual, [(part, "weight") for part in parts], gates, given)
        torch.testing.assert_close(mine[what].double(), expected, rtol=1e-3, atol=1e-9)
        for part in parts:
            parametrize.remove_parametrizations(part, "weight", leave_parametrized=False)
        residual.float()


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        self.into = nn.Linear(3, 16)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        tokens = self.into(x.flatten(2).transpose(1, 2))
        return self.head((tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]).mean(1))


def test_a_heads_score_is_the_squared_gradient_of_a_gate_on_its_answer(data, task):
    torch.manual_seed(0)
    net = Attentive().eval()
    given, scorer = _material(data, task), fisher()
    scorer.collect(net, given)
    mine = heads.head_scores(net, "attention", scorer)
    gates = torch.ones(4, dtype=torch.float64, requires_grad=True)

    class ByHead(nn.Module):
        def forward(self, w):
            return w * gates.repeat_interleave(4)[None]

    work, total = net.double(), torch.zeros(4, dtype=torch.float64)
    parametrize.register_parametrization(work.attention.out_proj, "weight", ByHead(), unsafe=True)
    for batch in given.batches:
        for x, y in zip(batch.input.double(), batch.target, strict=True):
            total += torch.autograd.grad(task.loss({"logits": work(x[None])}, {"target": y[None]}), gates)[0].square()
    torch.testing.assert_close(mine.double(), total, rtol=1e-3, atol=1e-10)


@pytest.mark.parametrize(
    ("part", "shape"),
    [
        (nn.Conv2d(6, 4, 3, padding=1), (2, 6, 5, 5)),
        (nn.Conv2d(6, 4, 3, padding=1, groups=2), (2, 6, 5, 5)),
        (nn.ConvTranspose2d(6, 4, 3, groups=2), (2, 6, 5, 5)),
        (nn.Linear(6, 4), (2, 7, 6)),
    ],
    ids=["convolution", "grouped", "transposed", "linear"],
)
def test_gates_of_a_layer_are_what_autograd_finds_on_its_inputs(part, shape):
    torch.manual_seed(0)
    part = part.double()
    x = torch.randn(shape, dtype=torch.float64)
    gates = torch.ones(6, dtype=torch.float64, requires_grad=True)
    shaped = gates if len(shape) == 3 else gates.view(1, -1, 1, 1)
    part(x * shaped).square().sum().backward()
    torch.testing.assert_close(input_gate_gradient(part), gates.grad)


def test_collecting_leaves_the_network_as_it_was(residual, data, task):
    before = {name: value.clone() for name, value in residual.state_dict().items()}
    fisher().collect(residual, _material(data, task))
    assert all(torch.equal(value, before[name]) for name, value in residual.state_dict().items())


def test_it_has_no_score_for_single_weights():
    with pytest.raises(TypeError, match="not single weights"):
        fisher().weights("conv.weight", torch.ones(1))


def test_one_pass_a_batch_finds_what_one_pass_a_sample_finds(residual, data, task):
    given = _material(data, task)
    found = gate_gradients(residual, given)
    assert "stem.0" not in found  # the image has no gate
    parts, expected = dict(residual.named_modules()), {}
    for _ in per_sample_gradients(residual, given):
        for name in found:
            expected.setdefault(name, []).append(input_gate_gradient(parts[name]))
    for name, rows in expected.items():
        torch.testing.assert_close(found[name], torch.stack(rows), rtol=1e-3, atol=1e-7)


def test_a_layer_that_is_called_twice_has_one_gate(data, task):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.again, self.head = nn.Linear(192, 8), nn.Linear(8, 8), nn.Linear(8, 4)

        def forward(self, x):
            return self.head(torch.tanh(self.again(torch.tanh(self.again(torch.tanh(self.first(x.flatten(1))))))))

    torch.manual_seed(0)
    net, given = Twice().eval(), _material(data, task)
    found = gate_gradients(net, given)["again"]
    rows = [input_gate_gradient(net.again) for _ in per_sample_gradients(net, given)]
    torch.testing.assert_close(found, torch.stack(rows), rtol=1e-3, atol=1e-7)


def test_nothing_of_the_batches_is_held_afterwards(residual, data, task):
    seen = []
    handle = residual.expand[0].register_forward_hook(lambda _, args, __: seen.append(weakref.ref(args[0])))
    gate_gradients(residual, _material(data, task))
    handle.remove()
    gc.collect()
    assert seen
    assert all(one() is None for one in seen)
