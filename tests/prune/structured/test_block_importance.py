import pytest
import torch
from torch import nn

from compress.core.errors import ModelError
from compress.prune.structured.block_importance import BlockScoring, block_influence, output_change, validation_loss


class Turn(nn.Module):
    """Rotates pairs of channels by an angle: (N, L, 2) → the same."""

    def __init__(self, angle):
        super().__init__()
        angle = torch.tensor(angle)
        self.turn = nn.Linear(2, 2, bias=False)
        self.turn.weight = nn.Parameter(torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]]))

    def forward(self, x):
        return self.turn(x)


def _network(*angles):
    return nn.Sequential(*map(Turn, angles))


def test_the_influence_of_a_rotation_is_one_minus_its_cosine():
    net = _network(0.3, 1.0)
    found = block_influence(net, ("0", "1"), BlockScoring((torch.randn(3, 4, 2),)))
    assert found["0"] == pytest.approx(1 - torch.tensor(0.3).cos().item(), abs=1e-6)
    assert found["1"] == pytest.approx(1 - torch.tensor(1.0).cos().item(), abs=1e-6)


def test_padding_does_not_count():
    class Half(Turn):
        """Turns the first three tokens alone."""

        def forward(self, x):
            return torch.cat([self.turn(x[:, :3]), x[:, 3:]], 1)

    x, mask = torch.randn(2, 4, 2), torch.tensor([[1, 1, 1, 0]] * 2)
    net = nn.Sequential(Half(1.0))
    whole, tokens = (block_influence(net, ("0",), BlockScoring((x,), mask=given))["0"] for given in (None, mask))
    assert whole == pytest.approx(0.75 * tokens)


def test_channels_of_images_are_in_the_second_dimension():
    conv = nn.Conv2d(2, 2, 1, bias=False)
    with torch.no_grad():
        conv.weight.copy_(Turn(0.5).turn.weight[:, :, None, None])
    net = nn.Sequential(nn.Sequential(conv))
    found = block_influence(net, ("0",), BlockScoring((torch.randn(1, 2, 2, 3),)))
    assert found["0"] == pytest.approx(1 - torch.tensor(0.5).cos().item(), abs=1e-6)


def test_the_change_of_the_outputs_is_that_without_the_block():
    x = torch.randn(3, 1, 2)
    found = output_change(_network(0.3, 1.0), ("0", "1"), BlockScoring((x,)))
    assert found["0"] == pytest.approx(2 * torch.tensor(0.15).sin().item(), abs=1e-6)
    assert found["0"] < found["1"]


def test_the_search_scores_by_the_loss_without_the_block():
    net, x = _network(0.3, 1.0), torch.tensor([[[1.0, 0.0]]])

    def loss(module):
        return module(x)[0, 0, 1].item()

    found = validation_loss(net, ("0", "1"), BlockScoring((x,), "search", loss=loss))
    assert found == pytest.approx({"0": torch.tensor(1.0).sin().item(), "1": torch.tensor(0.3).sin().item()})
    assert BlockScoring((x,), "search").is_greedy
    assert not BlockScoring((x,), "influence").is_greedy
    with pytest.raises(ModelError, match="needs a validation split"):
        validation_loss(net, ("0",), BlockScoring((x,), "search"))
