import pytest
import torch
from torch import nn

from compress.core.errors import TrainingError
from compress.core.fact import Fact
from compress.tasks.classification import Classification
from compress.train.training_mode import check_training_mode
from tests.train.toy_training import conv_net, plain_net, toy_data, train


class Auxiliary(nn.Module):
    """Returns more in training mode than in eval mode, as GoogLeNet and Inception do."""

    def __init__(self, answer):
        super().__init__()
        self.net, self.answer = plain_net(), answer

    def forward(self, x):
        y = self.net(x)
        return self.answer(y) if self.training else y


def test_the_first_of_several_outputs_is_trained_on(tmp_path):
    plain, auxiliary = plain_net(), Auxiliary(lambda y: (y, y * 2)).eval()
    expected = train(plain, tmp_path / "plain")
    history = train(auxiliary, tmp_path / "auxiliary")
    assert history.notes == (Fact.of("train.auxiliary_outputs", count=1),)
    assert history.curves == expected.curves
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), auxiliary.net.parameters(), strict=True))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda y: {"scores": y}, "returns no tensor for logits"),
        (lambda y: y[:, :, None], r"returns logits of shape \(2, 3, 1\) for two samples, and \(2, 3\) in eval mode"),
        (lambda y: y[:1], r"returns logits of shape \(1, 3\) for two samples"),
        (lambda y: y @ y, "runs in eval mode but not in training mode: RuntimeError"),
    ],
)
def test_another_output_in_training_mode_is_refused_before_the_first_step(tmp_path, answer, message):
    with pytest.raises(TrainingError, match=message):
        train(Auxiliary(answer).eval(), tmp_path)
    assert not list(tmp_path.glob("*.checkpoint.pt"))


def test_the_check_leaves_the_network_and_the_random_state_alone():
    net, state = conv_net(), torch.get_rng_state()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert check_training_mode(net, toy_data().spec, Classification()) == 0
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
