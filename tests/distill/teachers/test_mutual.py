import torch

from compress.distill.teachers.mutual import Peers
from compress.tasks.classification import Classification
from tests.distill.teachers.runs import batch_of, started
from tests.train.toy_training import SETTINGS, conv_net, toy_data


def test_peers_learn_from_the_labels_and_from_each_other():
    peers = [conv_net(3), conv_net(4)]
    before = [item.state_dict()["0.weight"].clone() for item in peers]
    training = SETTINGS.model_copy(update={"lr": 0.05})
    teacher = started(Peers(peers, training, toy_data(), Classification(), 1.0))
    batch = batch_of(size=16)
    first = teacher.logits(batch)
    for _ in range(20):
        teacher.logits(batch)
        teacher.after_batch(batch, torch.zeros(16, 3))
        teacher.after_step(conv_net())
    loss = torch.nn.functional.cross_entropy
    assert loss(teacher.logits(batch), batch.target) < loss(first, batch.target)
    assert not any(torch.equal(a, b.state_dict()["0.weight"]) for a, b in zip(before, peers, strict=True))
    assert not teacher.logits(batch).requires_grad
