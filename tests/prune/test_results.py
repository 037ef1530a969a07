import torch

from compress.core.stage import Context
from compress.prune.results import trainable_copy, validation_metric


def test_a_trainable_copy_is_apart_from_its_network(residual):
    for parameter in residual.parameters():
        parameter.requires_grad_(False)
    copy = trainable_copy(residual.train())
    assert not copy.training
    assert all(parameter.requires_grad for parameter in copy.parameters())
    assert not any(parameter.requires_grad for parameter in residual.parameters())
    assert all(torch.equal(p, q) and p is not q for p, q in zip(copy.parameters(), residual.parameters(), strict=True))


def test_the_metric_is_that_of_all_validation_samples(residual, data, task, tmp_path):
    context = Context(data=data, task=task, folder=tmp_path, cache=tmp_path, seed=3, device="cpu")
    net = residual.eval()
    batches = list(data.validation.epoch(0, 7, 0))
    with torch.no_grad():
        right = torch.cat([net(batch.inputs).argmax(1) == batch.targets for batch in batches])
    assert abs(validation_metric(net, context) - float(right.double().mean())) < 1e-6
