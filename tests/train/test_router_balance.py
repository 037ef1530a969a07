"""Load balancing of experts: against transformers, its extremes, and in a training."""

import pytest
import torch

from compress.distill.losses.hard_labels import HardLabels
from compress.train.loop import fit
from compress.train.plan import TrainingPlan
from compress.train.router_balance import routed_layers, switch_loss, take_balance_loss
from compress.train.settings import Training
from tests.models.text.expert_networks import SPEC, TASK, expert_decoder, next_tokens
from tests.tasks.text.text_arrays import tokens

mixtral = pytest.importorskip("transformers.models.mixtral.modeling_mixtral")


def logits(rows, seed=0):
    return torch.randn(rows, 4, generator=torch.Generator().manual_seed(seed))


def test_it_is_that_of_transformers_for_each_choice():
    z, mask = logits(24), torch.tensor([[1] * 9 + [0] * 3, [1] * 12])
    own = switch_loss(z, 2, mask.flatten().bool())
    torch.testing.assert_close(own, mixtral.load_balancing_loss_func((z,), 4, 2, mask) / 2)
    torch.testing.assert_close(switch_loss(z, 2), mixtral.load_balancing_loss_func((z,), 4, 2) / 2)


def test_it_is_one_for_equal_use_and_more_for_one_expert():
    equal = torch.eye(4).repeat(5, 1) * 1e-3
    torch.testing.assert_close(switch_loss(equal, 1), torch.tensor(1.0), atol=1e-3, rtol=0)
    one = torch.tensor([[9.0, 0.0, 0.0, 0.0]]).repeat(5, 1)
    assert 3.9 < switch_loss(one, 1) <= 4
    assert switch_loss(one, 1, torch.zeros(5, dtype=torch.bool)) == 0


def test_logits_are_kept_in_training_alone_and_taken_once():
    network = expert_decoder()
    inputs = tokens(3, 0)
    network(**inputs)
    assert take_balance_loss(network, inputs["attention_mask"]) is None
    network.train()(**inputs)
    loss = take_balance_loss(network, inputs["attention_mask"])
    assert loss is not None
    assert loss.requires_grad
    assert take_balance_loss(network, None) is None


def test_its_gradient_brings_a_router_that_chooses_one_expert_to_equal_use():
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)) + 1.0
    gate = torch.nn.Linear(8, 4, bias=False)
    with torch.no_grad():
        gate.weight.copy_(torch.tensor([0.5, 0.0, 0.0, 0.0])[:, None].expand(4, 8))
    optimizer = torch.optim.SGD(gate.parameters(), lr=0.05)
    first = float(switch_loss(gate(x), 1).detach())
    for _ in range(100):
        optimizer.zero_grad()
        switch_loss(gate(x), 1).backward()
        optimizer.step()
    assert first > 3.5
    assert switch_loss(gate(x), 1) < 1.3


def test_a_training_adds_it_and_says_so(tmp_path):
    def trained(balance):
        network = expert_decoder()
        for layer in routed_layers(network):
            layer.balance = balance
        data = type("Texts", (), {"train": next_tokens(32, 0), "validation": next_tokens(8, 1), "spec": SPEC})()
        terms = (HardLabels(),)
        plan = TrainingPlan(Training(epochs=1, batch_size=16, lr=0.003, keep="last"), data, TASK, terms, seed=0)
        history = fit(network, plan, folder=tmp_path / str(balance), device="cpu")
        return history.curves["loss"].y, [note.code for note in history.notes]

    (without, notes), (with_loss, more) = trained(0.0), trained(1.0)
    assert 0.9 < with_loss[0] - without[0] < 2.1  # E Σ f P is from 1 to E / k
    assert "train.experts_balanced" not in notes
    assert "train.experts_balanced" in more
