"""CRD's memory against the paper's formulas in float64, written with loops, and what it keeps."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from compress.core.errors import TrainingError
from compress.data.batch import Batch
from compress.distill.losses.contrastive import Contrastive
from compress.distill.losses.crd_memory import MemoryBank, nce_loss
from compress.distill.losses.hard_labels import HardLabels
from compress.tasks.classification import Classification
from compress.train.teachers.cached_logits import CachedTeacher
from compress.train.teachers.logit_shards import LogitFolder
from tests.train.toy_training import SETTINGS, conv_net, toy_data, train

N, D, M, SAMPLES, TAU = 3, 4, 6, 20, 0.5


def unit(*shape, seed=0):
    vectors = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(vectors, dim=-1)


def batch(samples, targets):
    return Batch.of(torch.zeros(len(samples), 1), torch.tensor(targets), torch.tensor(samples))


def memory(seed=0, **more):
    torch.manual_seed(seed)
    return MemoryBank(SAMPLES, D, **{"negatives": M, "momentum": 0.5, **more})


def paper(own, other, others, alike, log_z):
    """−log P(C = 1 | own pair) − Σ log P(C = 0 | other pairs)."""
    losses = []
    for i in range(N):
        negatives = [j for j in range(len(others)) if not alike[i][j]]
        noise = len(negatives) / SAMPLES

        def h(v, i=i):
            return math.exp(float(np.dot(own[i], v)) / TAU) / math.exp(log_z)

        right = h(other[i]) / (h(other[i]) + noise)
        losses.append(-math.log(right) - sum(math.log(noise / (h(others[j]) + noise)) for j in negatives))
    return losses


def test_a_side_equals_the_formula():
    own, other, others = unit(N, D), unit(N, D, seed=1), unit(M, D, seed=2)
    alike = torch.zeros(N, M, dtype=torch.bool)
    alike[0, :2] = alike[2, 3] = True
    found = nce_loss(own.float(), other.float(), others.float(), alike, tau=TAU, log_z=torch.tensor(1.3), samples=SAMPLES)
    expected = paper(own.numpy(), other.numpy(), others.numpy(), alike.tolist(), 1.3)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_two_batches_equal_the_paper_step_by_step():
    made = memory()
    vectors, classes = made.vectors.double().numpy().copy(), np.full(SAMPLES, -1)
    assert np.abs(vectors).max() <= math.sqrt(3 / D)
    log_z = [None, None]
    torch.manual_seed(5)
    drawn = [torch.randint(SAMPLES, (M,)).tolist() for _ in range(2)]
    torch.manual_seed(5)
    for step, (samples, targets) in enumerate([([4, 9, 2], [0, 1, -100]), ([9, 3, 4], [1, 1, 0])]):
        g = [unit(N, D, seed=10 + 2 * step + side) for side in range(2)]
        found = made(g[0].float(), g[1].float(), batch(samples, targets), TAU)
        expected = np.zeros(N)
        for side in range(2):
            other, others = vectors[1 - side][samples], vectors[1 - side][drawn[step]]
            own = g[side].numpy()
            if log_z[side] is None:
                scores = [math.exp(float(own[i] @ v) / TAU) for i in range(N) for v in (other[i], *others)]
                log_z[side] = math.log(sum(scores) / len(scores) * SAMPLES)
            alike = [[j == samples[i] or (targets[i] >= 0 and classes[j] == targets[i]) for j in drawn[step]] for i in range(N)]
            expected += paper(own, other, others, alike, log_z[side])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        for i, sample in enumerate(samples):
            classes[sample] = max(targets[i], -1)
            for side in range(2):
                mixed = 0.5 * vectors[side][sample] + 0.5 * g[side][i].numpy()
                vectors[side][sample] = mixed / math.sqrt(sum(v * v for v in mixed))
        np.testing.assert_allclose(made.vectors, vectors, rtol=1e-5, atol=1e-5)
        assert made.classes.tolist() == classes.tolist()


def test_both_sides_learn_and_the_memory_does_not():
    made = memory()
    before = made.vectors.clone()
    g_s, g_t = (unit(N, D, seed=seed).float().requires_grad_() for seed in (1, 2))
    made(g_s, g_t, batch([0, 1, 2], [0, 1, 2]), TAU).sum().backward()
    assert float(g_s.grad.abs().max()) > 0
    assert float(g_t.grad.abs().max()) > 0
    assert not list(made.parameters())
    changed = (made.vectors != before).any(dim=2).any(dim=0)
    assert changed.nonzero().flatten().tolist() == [0, 1, 2]


def test_the_loss_is_lower_where_student_and_teacher_agree_with_what_is_remembered():
    made = memory(negatives=200)
    corners = torch.eye(4)
    made.vectors[:] = corners.repeat(5, 1)
    made.classes[:] = torch.arange(4).repeat(5)
    here = batch([0, 1, 2, 3], [0, 1, 2, 3])
    right = made(corners, corners, here, 0.1).mean()
    assert float(right) < float(made(corners.roll(1, 0), corners.roll(1, 0), here, 0.1).mean()) / 3


def test_what_a_checkpoint_holds_goes_on_alike():
    first, second = memory(0), memory(1)
    g = unit(N, D).float()
    first(g, g, batch([0, 1, 2], [0, 1, 2]), TAU)
    second.load_state_dict(first.state_dict())
    found = []
    for made in (first, second):
        torch.manual_seed(3)
        found.append(made(g, g.roll(1, 0), batch([3, 4, 0], [1, 1, 0]), TAU))
    assert torch.equal(*found)
    assert torch.equal(first.vectors, second.vectors)


def teach(folder, term, views=2):
    data = toy_data(views)
    answers = CachedTeacher(
        [conv_net(7)], data.train, Classification(), key="t", cache=LogitFolder(folder / "cache"), device="cpu"
    )
    student = conv_net()
    train(student, folder, SETTINGS, data=data, terms=(HardLabels(), term), teacher=answers)
    return student


def test_negatives_of_the_memory_make_another_student_than_those_of_the_batch(tmp_path):
    ends = [
        teach(tmp_path / str(number), Contrastive(width=8, memory=bank))[0].weight
        for number, bank in enumerate([None, {"negatives": 30}, {"negatives": 30, "momentum": 0.0}])
    ]
    assert not any(torch.equal(a, b) for i, a in enumerate(ends) for b in ends[:i])


def test_data_that_does_not_tell_its_samples_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="leave `memory` out"):
        teach(tmp_path, Contrastive(width=8, memory={}), views=None)


def test_several_processes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="one process only"):
        memory()(unit(N, D).float(), unit(N, D).float(), batch([0, 1, 2], [0, 1, 2]), TAU)
