from pathlib import Path

import torch

from compress.core.stage import Candidate, Context
from compress.tasks.classification import Classification
from compress.train.stage import Train
from tests.train.toy_training import conv_net, toy_data, train


def context(folder: Path) -> Context:
    return Context(toy_data(), Classification(), folder / "stage", folder / "cache", seed=3, device="cpu")


def test_it_trains_a_copy_as_the_loop_does_on_the_tasks_loss(tmp_path):
    stage = Train(epochs=3, batch_size=16, lr=0.02)
    original = conv_net()
    candidate = Candidate(toy_data().spec, original, lineage="parent")
    outcome = stage.run(candidate, context(tmp_path))
    reference = conv_net()
    history = train(reference, tmp_path / "loop", stage)
    state = outcome.candidate.network().state_dict()
    assert all(torch.equal(value, state[name]) for name, value in reference.state_dict().items())
    assert all(torch.equal(value, original.state_dict()[name]) for name, value in conv_net().state_dict().items())
    assert outcome.curves == history.curves
    assert outcome.candidate.lineage == candidate.lineage
    assert {name: quantity.value for name, quantity in outcome.results.items()} == {
        "epochs": 3,
        "best_epoch": history.best_epoch,
    }


def test_epochs_after_an_early_stop_are_not_counted(tmp_path):
    stage = Train(epochs=50, batch_size=16, lr=1e-12, schedule="constant", patience=2)
    outcome = stage.run(Candidate(toy_data().spec, conv_net()), context(tmp_path))
    assert outcome.results["epochs"].value == 3
    assert [note.code for note in outcome.notes] == ["train.stopped_early"]
