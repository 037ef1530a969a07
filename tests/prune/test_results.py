import torch

from compress.core.stage import Context
from compress.prune.results import validation_metric


def test_the_metric_is_that_of_all_validation_samples(residual, data, task, tmp_path):
    context = Context(data=data, task=task, folder=tmp_path, cache=tmp_path, seed=3, device="cpu")
    net = residual.eval()
    batches = list(data.validation.epoch(0, 7, 0))
    with torch.no_grad():
        right = torch.cat([net(batch.input).argmax(1) == batch.target for batch in batches])
    assert abs(validation_metric(net, context) - float(right.double().mean())) < 1e-6
