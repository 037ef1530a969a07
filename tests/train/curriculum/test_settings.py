"""Mixed images, weights of samples, temperatures: the formulas, and that a training with each repeats itself bit for bit."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from compress.core.fact import Fact
from compress.distill.losses.hard_labels import HardLabels
from compress.distill.losses.response import Response
from compress.distill.stage import Distill
from compress.distill.teachers.settings import TemporalEnsemble
from compress.train.curriculum.loss_balancing import UncertaintyWeighting
from compress.train.curriculum.mixup import MixedBatch, cutmix, erase, mix_batch, mix_logits, mixup
from compress.train.curriculum.sample_weighting import LearnedTemperature, entropy_temperature, sample_weights
from compress.train.curriculum.settings import Curriculum
from compress.train.features.matched_layers import FeatureMatcher
from compress.train.teachers.cached_logits import CachedTeacher
from compress.train.teachers.online import TeacherOutputs
from compress.train.weighted_loss import WeightedLoss
from tests.train.toy_training import SETTINGS, Countdown, conv_net, toy_data, train


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_mixup_adds_two_images_in_their_share():
    x, partner = draw(4, 3, 8, 8), torch.tensor([1, 0, 3, 2])
    torch.testing.assert_close(mixup(x, partner, 0.3)[2], 0.3 * x[2] + 0.7 * x[3])


@pytest.mark.parametrize("centre", [[0.5, 0.5], [0.0, 0.99], [0.2, 0.7]])
def test_cutmix_shows_as_much_of_each_image_as_it_says(centre):
    x = torch.zeros(2, 1, 16, 16)
    x[1] = 1.0
    mixed, share = cutmix(x, torch.tensor([1, 0]), 0.6, centre)
    assert float(mixed[0].mean()) == pytest.approx(1 - share)
    assert float(mixed[1].mean()) == pytest.approx(share)
    assert share >= 0.55
    assert float(x[0].sum()) == 0.0


def test_erasing_blanks_a_box_of_the_chosen_images_only():
    x = torch.ones(50, 1, 16, 16)
    erased = erase(x, torch.arange(50) < 40, torch.rand(50, 4, generator=torch.Generator().manual_seed(0)))
    assert bool((erased[40:] == 1).all())
    parts = (erased[:40] == 0).float().mean((1, 2, 3))
    assert float(parts.max()) <= 0.4
    assert float((parts > 0).float().mean()) > 0.9
    assert bool((x == 1).all())


def test_a_mix_is_the_same_from_the_same_seed():
    curriculum, x = Curriculum(mixup=0.4, cutmix=1.0, erase=0.5), draw(6, 3, 8, 8)
    found = []
    for _ in range(2):
        torch.manual_seed(5)
        found.append([mix_batch(x, curriculum) for _ in range(4)])
    for a, b in zip(*found, strict=True):
        assert torch.equal(a.inputs, b.inputs)
        assert a.lam == b.lam
    assert len({one.lam for one in found[0]}) > 1


def test_answers_to_single_images_are_blended_as_probabilities():
    z = draw(4, 3)
    changed = MixedBatch(z, torch.tensor([2, 3, 0, 1]), 0.25)
    expected = 0.25 * z.softmax(1) + 0.75 * z.softmax(1)[[2, 3, 0, 1]]
    torch.testing.assert_close(mix_logits(z, changed).softmax(1), expected)


def test_hard_samples_weigh_in_proportion_to_how_hard_they_are():
    z_s, z_t, y = draw(5, 3), draw(5, 3, seed=1), torch.tensor([0, 1, 2, -100, 1])
    p_s, p_t = (z.double().softmax(1).numpy() for z in (z_s, z_t))
    expected = {
        "teacher_error": [-math.log(p_t[n, y[n]]) if y[n] >= 0 else np.nan for n in range(5)],
        "student_loss": [-math.log(p_s[n, y[n]]) if y[n] >= 0 else np.nan for n in range(5)],
        "disagreement": [(p_t[n] * np.log(p_t[n] / p_s[n])).sum() for n in range(5)],
    }
    for how, score in expected.items():
        full = np.where(np.isnan(score), np.nanmean(score), score)
        np.testing.assert_allclose(sample_weights(z_s, z_t, y, how), full / full.mean(), rtol=1e-5, atol=1e-5)
    assert torch.equal(sample_weights(z_s, None, y, "disagreement"), torch.ones(5))


def test_the_temperature_follows_how_sure_the_teacher_is():
    z = torch.tensor([[0.0, 0.0, 0.0], [50.0, 0.0, 0.0], [1.0, 0.0, -1.0]])
    p = z[2].double().softmax(0).numpy()
    sure = 1 + (p * np.log(p)).sum() / math.log(3)
    found = entropy_temperature(z, lowest=1.0, highest=5.0)
    torch.testing.assert_close(found, torch.tensor([1.0, 5.0, 1 + 4 * float(sure)]), atol=1e-5, rtol=1e-5)


def test_the_learned_temperature_climbs_against_the_student():
    made = LearnedTemperature(1.0, 9.0)
    assert float(made(0.3).detach()) == pytest.approx(5.0)
    made(0.0).backward()
    assert float(made.theta.grad) == 0.0
    made.theta.grad = None
    made(0.125).backward()
    assert float(made.theta.grad) == pytest.approx(-0.5 * 8 * 0.25)  # half of the way: λ = ½, σ' = ¼
    made.theta.grad = None
    made(0.5).backward()
    assert float(made.theta.grad) == pytest.approx(-8 * 0.25)


def test_uncertainty_settles_where_each_loss_weighs_one_over_itself():
    made, losses = UncertaintyWeighting(2), (torch.tensor(4.0), torch.tensor(0.5))
    optimizer = torch.optim.SGD(made.parameters(), lr=0.2)
    for _ in range(300):
        optimizer.zero_grad()
        torch.stack(list(made(dict(enumerate(losses))).values())).sum().backward()
        optimizer.step()
    torch.testing.assert_close(made.s.detach().exp(), torch.tensor([4.0, 0.5]), rtol=1e-2, atol=1e-2)


def test_labels_of_both_images_count_by_their_share():
    data, terms = toy_data(), (HardLabels(), Response())
    batch = next(iter(data.train.ordered(6)))
    student, teacher = draw(6, 3), draw(6, 3, seed=1)
    objective = WeightedLoss(
        terms, FeatureMatcher(terms, conv_net(), [], batch.inputs), train_task(), 0.0, Curriculum(mixup=1.0)
    )
    partner = torch.tensor([1, 2, 3, 4, 5, 0])
    found = objective.loss(batch, student, {}, TeacherOutputs(teacher), MixedBatch(batch.inputs, partner, 0.3), 0.5)
    hard = 0.3 * F.cross_entropy(student, batch.targets) + 0.7 * F.cross_entropy(student, batch.targets[partner])
    soft = 16 * F.kl_div((student / 4).log_softmax(1), (teacher / 4).softmax(1), reduction="batchmean")
    torch.testing.assert_close(found, hard + soft)


def train_task():
    from compress.tasks.classification import Classification

    return Classification()


CURRICULA = [
    Curriculum(mixup=0.5), Curriculum(cutmix=1.0, erase=0.5), Curriculum(mine="teacher_error"), Curriculum(mine="student_loss"),
    Curriculum(mine="disagreement"), Curriculum(temperature="entropy"), Curriculum(temperature="learned"),
    Curriculum(balance="uncertainty"), Curriculum(balance="gradient_norm"),
]  # fmt: skip


def teach(folder, curriculum, **more):
    data = toy_data()
    teacher = CachedTeacher([conv_net(7)], data.train, key="t", cache=folder / "cache", device="cpu")
    settings = SETTINGS.model_copy(update={"epochs": 2})
    module, terms = conv_net(), (HardLabels(weight=0.5), Response())
    history = train(module, folder, settings, data=data, terms=terms, teacher=teacher, curriculum=curriculum, **more)
    return module, history


@pytest.mark.parametrize("curriculum", CURRICULA, ids=lambda c: str(c.model_dump(exclude_defaults=True)))
def test_a_training_goes_on_after_an_interruption_with_the_same_bits(tmp_path, curriculum):
    def interrupt():
        raise KeyboardInterrupt

    expected, history = teach(tmp_path / "whole", curriculum)
    with pytest.raises(KeyboardInterrupt):
        teach(tmp_path / "cut", curriculum, after_step=Countdown(5, interrupt))
    found, again = teach(tmp_path / "cut", curriculum)
    plain, _ = teach(tmp_path / "plain", Curriculum())
    assert again == history
    assert all(torch.equal(a, b) for a, b in zip(expected.state_dict().values(), found.state_dict().values(), strict=True))
    assert not torch.equal(plain[0].weight, found[0].weight)
    assert (Fact.of("train.teacher_online") in history.notes) == curriculum.mixes


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"curriculum": {"lowest": 5.0, "highest": 4.0}}, "lowest temperature 5 must be under the highest, 4"),
        ({"curriculum": {"mine": "hardest"}}, "teacher_error"),
        ({"curriculum": {"erase": 1.5}}, "less than or equal to 1"),
        (
            {"curriculum": {"erase": 0.2}, "losses": [{"contrastive": {"memory": {}}}]},
            "`contrastive` with a memory needs unmixed images",
        ),
        ({"curriculum": {"balance": "gradnorm"}}, "gradient_norm"),
        ({"curriculum": {"restoring": -1}}, "greater than or equal to 0"),
        ({"curriculum": {"mixup": 1.0}, "teacher": TemporalEnsemble()}, "teacher `ensemble` needs unmixed images"),
    ],
)
def test_what_cannot_be_is_refused_when_the_recipe_is_read(given, message):
    with pytest.raises(ValidationError, match=message):
        Distill(**given)
