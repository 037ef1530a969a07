"""Federated averaging on the toy problem."""

import copy
from pathlib import Path

import pytest
import torch

from compress.core.errors import TrainingError
from compress.core.stage import Candidate, Context
from compress.tasks.classification import Classification
from compress.train.federated.flat_parameters import flatten
from compress.train.federated.read_samples import read_all
from compress.train.federated.rounds import STATE, Simulation, train_rounds
from compress.train.federated.server_distillation import logits_of
from compress.train.federated.stage import Federated
from tests.train.toy_training import conv_net, toy_data

SETTINGS = {"clients": 4, "rounds": 4, "batch_size": 8, "lr": 0.1, "local_epochs": 1}


def context(folder: Path) -> Context:
    (folder / "stage").mkdir(parents=True, exist_ok=True)
    return Context(toy_data(), Classification(), folder / "stage", folder / "cache", seed=3, device="cpu")


def run(folder: Path, **settings):
    module = conv_net()
    course = train_rounds(module, Federated(**SETTINGS | settings), context(folder))
    return module, course


def weights(module):
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_it_learns_and_does_not_change_its_input(tmp_path):
    original = conv_net()
    before = weights(original).clone()
    outcome = Federated(**SETTINGS | {"rounds": 10}).run(Candidate(toy_data().spec, original), context(tmp_path))
    curve = outcome.curves["accuracy_validation"]
    assert curve.x_label == "round"
    assert max(curve.y) > 0.8
    assert torch.equal(weights(original), before)
    assert outcome.results["round_bytes_share"].value == 1.0
    entries = sum(p.numel() for p in original.parameters()) + sum(
        b.numel() for b in original.buffers() if b.is_floating_point()
    )
    assert outcome.results["round_bytes_dense"].value == 2 * 4 * 4 * entries


def test_one_client_with_everything_is_plain_training_on_the_server(tmp_path):
    """With one client in a round, the server has the weights of this client."""
    module, _ = run(tmp_path, rounds=1, participation=0.25, keep="last")
    simulation = Simulation(conv_net(), Federated(**SETTINGS | {"rounds": 1, "participation": 0.25}), context(tmp_path))
    assert simulation.taking_part == 1
    found = []
    for client in range(4):
        local = copy.deepcopy(simulation.module)
        simulation._train_client(local, client, 0, flatten(list(simulation.trained)))
        found.append(torch.allclose(weights(local), weights(module), atol=1e-6))
    assert sum(found) == 1


def test_the_server_averages_by_the_number_of_samples(tmp_path):
    stage = Federated(**SETTINGS | {"rounds": 1, "split": {"dirichlet": 0.5}, "keep": "last"})
    simulation = Simulation(conv_net(), stage, context(tmp_path))
    start = flatten(simulation.trained)
    mean = torch.zeros_like(start)
    for client, part in enumerate(simulation.parts):
        local = copy.deepcopy(simulation.module)
        simulation._train_client(local, client, 0, start)
        mean += weights(local) * len(part) / len(toy_data().train)
    simulation.run_round(0)
    assert torch.allclose(flatten(simulation.trained), mean, atol=1e-6)


@pytest.mark.parametrize("update", [{}, {"keep": 0.1, "bits": 8}])
def test_an_interrupted_training_continues_bit_by_bit(tmp_path, monkeypatch, update):
    whole, course = run(tmp_path / "whole", update=update)
    real = Simulation.run_round

    def interrupt(self, number):
        if number == 2:
            raise KeyboardInterrupt
        real(self, number)

    monkeypatch.setattr(Simulation, "run_round", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", update=update)
    assert (tmp_path / "cut" / "stage" / STATE).exists()
    monkeypatch.setattr(Simulation, "run_round", real)
    again, continued = run(tmp_path / "cut", update=update)
    assert torch.equal(weights(whole), weights(again))
    assert (course.metrics, course.sent) == (continued.metrics, continued.sent)
    assert not (tmp_path / "cut" / "stage" / STATE).exists()


def test_sparse_updates_of_few_bits_are_a_small_share_and_still_learn(tmp_path):
    _, course = run(tmp_path, rounds=15, update={"keep": 0.05, "bits": 8})
    buffers = 2 * 4 * 4 * sum(b.numel() for b in conv_net().buffers() if b.is_floating_point())
    assert (course.round_bytes - buffers) < 0.1 * (course.dense_bytes - buffers)
    assert max(course.metrics) > 0.8


def test_distillation_on_the_server_is_nearer_to_the_mean_of_the_logits_than_the_average(tmp_path):
    settings = {"rounds": 1, "split": {"dirichlet": 0.2}, "local_epochs": 3, "keep": "last"}
    far = []
    for distill in ({"share": 0.3, "epochs": 20, "lr": 0.003}, {"share": 0.3, "epochs": 1, "lr": 1e-9}):
        simulation = Simulation(conv_net(), Federated(**SETTINGS | settings, distill=distill), context(tmp_path))
        rows, start = simulation.server_rows, flatten(simulation.trained)
        assert not {*rows.tolist()} & {row for part in simulation.parts for row in part.tolist()}
        teachers = []
        for client in range(4):
            local = copy.deepcopy(simulation.module)
            simulation._train_client(local, client, 0, start)
            teachers.append(logits_of(local, simulation.inputs, rows, "cpu"))
        simulation.run_round(0)
        own = logits_of(simulation.module, simulation.inputs, rows, "cpu")
        teacher = torch.stack(teachers).mean(0).softmax(1)
        far.append(float((own.softmax(1) - teacher).abs().mean()))
    assert far[0] < 0.7 * far[1]


def test_the_proximal_term_keeps_clients_near_the_server(tmp_path):
    moved = []
    for mu in (0.0, 5.0):
        module, _ = run(tmp_path / str(mu), rounds=1, lr=0.05, proximal=mu, local_epochs=4, keep="last")
        moved.append(float((weights(module) - weights(conv_net())).norm()))
    assert moved[1] < 0.7 * moved[0]


def test_bad_data_and_settings_are_refused(tmp_path):
    with pytest.raises(TrainingError, match="too few for 400 clients"):
        run(tmp_path, clients=400)
    with pytest.raises(TrainingError, match=r"too few for the server.*raise distill\.share"):
        run(tmp_path, distill={"share": 0.001})
    with pytest.raises(TrainingError, match=r"lower lr .*clip: 1\.0"):
        run(tmp_path / "lr", lr=1e30)

    class Uneven:
        def ordered(self, size):
            batch = next(iter(toy_data().train.ordered(size)))
            yield batch
            yield batch._replace(inputs={"input": batch.input[:, :, :4]})

    with pytest.raises(TrainingError, match="samples of one shape"):
        read_all(Uneven())


def test_equal_seeds_give_equal_networks(tmp_path):
    first, _ = run(tmp_path / "a", rounds=2)
    second, _ = run(tmp_path / "b", rounds=2)
    assert torch.equal(weights(first), weights(second))
