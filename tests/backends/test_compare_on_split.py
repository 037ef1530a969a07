import copy

import pytest
import torch

from compress.backends.compare_on_split import collect_outputs, compare_on_split, record_outputs
from compress.backends.iterate_split import RecordedOutputs
from compress.backends.run_split import run_split
from compress.tasks.classification import Classification
from tests.export.tiny import split as some_samples


def collect(network, split, **more):
    """Logits and classes."""
    collected = collect_outputs(network, split, Classification(), **more)
    return collected.outputs["logits"].numpy(), collected.targets["target"].numpy()


def test_a_limit_cuts_the_outputs_and_stops_reading(exported, monkeypatch):
    samples, sizes = some_samples(40, 3), []
    ordered = type(samples).ordered

    def counted(split, batch_size):
        for batch in ordered(split, batch_size):
            sizes.append(batch.size)
            yield batch

    monkeypatch.setattr(type(samples), "ordered", counted)
    outputs, targets = collect(exported, samples, batch_size=8, limit=20)
    assert targets.tolist() == samples.targets[:20].tolist()
    assert sizes == [8, 8, 8]
    assert len(outputs) == 20


@pytest.mark.parametrize("sizes", [(4, 4), (7, 3), (3, 7), (1, 256)])
def test_two_networks_are_compared_sample_by_sample_whatever_their_batches(network, exported, sizes):
    samples, task = some_samples(20, 3), Classification()
    noisy = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in noisy.parameters():
            parameter.mul_(1.3)
    found = compare_on_split(exported, noisy, samples, task, batch_size=sizes[0], other_batch_size=sizes[1])
    a, b = (collect_outputs(each, samples, task).outputs["logits"] for each in (network, noisy))
    assert found.reference.tolist() == run_split(network, samples, task).scores.tolist()
    assert found.other.tolist() == run_split(noisy, samples, task).scores.tolist()
    assert found.agreement.samples == 20
    assert found.agreement.top1 == pytest.approx(float((a.argmax(1) == b.argmax(1)).float().mean()))
    assert found.agreement.max_abs == pytest.approx(float((a - b).abs().max()), rel=1e-4)
    assert found.noise == pytest.approx(float((a - b).double().square().sum()), rel=1e-4)
    assert found.signal == pytest.approx(float(a.double().square().sum()), rel=1e-4)


def test_recorded_outputs_stand_for_the_network_until_they_are_too_large(network, monkeypatch):
    samples, task = some_samples(20, 3), Classification()
    recorded = record_outputs(network, samples, task, batch_size=6)
    assert isinstance(recorded, RecordedOutputs)
    found = compare_on_split(recorded, network, samples, task, batch_size=8)
    assert found.noise == pytest.approx(0.0, abs=1e-6)
    monkeypatch.setattr("compress.backends.compare_on_split.COLLECTED_BYTES", 64)
    assert record_outputs(network, samples, task, batch_size=6) is network


def test_no_more_outputs_are_collected_than_fit(network, monkeypatch):
    monkeypatch.setattr("compress.backends.compare_on_split.COLLECTED_BYTES", 5 * 4 * 4)
    assert 0 < len(collect_outputs(network, some_samples(20, 3), Classification(), batch_size=4)) < 20
