import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import mobilenet_v2, resnet18

from compress.models.anomaly_networks import AnomalyNetwork, BackboneLevels, ConvLevels, feature_distance


def network(students=1, width=2, size=32):
    torch.manual_seed(0)
    reference = ConvLevels(1, 3)
    made = AnomalyNetwork(reference, [ConvLevels(1, width, reference.widths) for _ in range(students)])
    return made.eval(), torch.rand(4, 1, size, size)


def test_the_distance_is_one_minus_the_cosine():
    torch.manual_seed(0)
    first, second = torch.randn(2, 3, 5, 4, 4, dtype=torch.float64)
    expected = 1 - F.cosine_similarity(first, second, dim=1)
    assert torch.allclose(feature_distance(first, second)[:, 0], expected, atol=1e-12)
    assert float(feature_distance(first, first).abs().max()) == 0.0
    assert torch.isfinite(feature_distance(torch.zeros(1, 2, 1, 1), torch.ones(1, 2, 1, 1))).all()


def test_the_map_of_an_ensemble_is_regression_error_plus_predictive_variance():
    made, images = network(students=3)
    with torch.no_grad():
        _, heat = made(images)
        targets = [F.normalize(each.double(), dim=1) for each in made.reference(images)]
        students = [[F.normalize(each.double(), dim=1) for each in student(images)] for student in made.students]
        expected = 0
        for level, target in enumerate(targets):
            answers = torch.stack([student[level] for student in students])
            error = (target - answers.mean(0)).square().sum(1, keepdim=True)
            variance = (answers - answers.mean(0)).square().mean(0).sum(1, keepdim=True)
            part = (error + variance) / 2
            expected = expected + F.interpolate(part, size=heat.shape[-2:], mode="bilinear") / len(targets)
    assert torch.allclose(heat.double(), expected[:, 0], atol=1e-6)


def test_the_score_is_the_largest_place_of_the_map():
    made, images = network()
    with torch.no_grad():
        score, heat = made(images)
    assert heat.shape == (4, 8, 8)
    assert torch.equal(score, heat.flatten(1).amax(1))
    assert (heat >= 0).all()


def test_training_changes_the_students_alone():
    made, images = network()
    before = copy.deepcopy(made.state_dict())
    made.train()
    made(images)[1].mean().backward()
    torch.optim.SGD([part for part in made.parameters() if part.requires_grad], lr=0.1).step()
    changed = {name for name, value in made.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("students.") for name in changed)
    assert any("running_mean" in name for name in changed)


def test_batch_norms_of_a_random_reference_count_their_statistics():
    made, images = network()
    counting = AnomalyNetwork(made.reference.network, list(made.students), counts_statistics=True)
    before = copy.deepcopy(counting.reference.state_dict())
    counting.train()(images)[1].mean().backward()
    changed = {name for name, value in counting.reference.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all("running_" in name or "num_batches" in name for name in changed)
    assert all(parameter.grad is None for parameter in counting.reference.parameters())


def test_students_learn_to_follow_the_reference():
    made, images = network(width=6)
    optimizer = torch.optim.Adam(made.students.parameters(), lr=0.01)
    made.train()
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = made(images)[1].mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("build", [mobilenet_v2, resnet18])
def test_levels_of_a_backbone_are_those_of_the_whole_network(build):
    torch.manual_seed(0)
    backbone, images = build(num_classes=3).eval(), torch.rand(2, 3, 64, 64)
    seen = []
    for layer in backbone.modules():
        layer.register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.no_grad():
        levels = BackboneLevels(backbone, images)(images)
        assert [tuple(each.shape[-2:]) for each in levels] == [(16, 16), (8, 8), (4, 4)]
        seen.clear()
        backbone(images)
    assert all(any(each.shape == other.shape and torch.equal(each, other) for other in seen) for each in levels)


def test_a_network_without_known_layers_or_strides_is_refused():
    with pytest.raises(ValueError, match="layers of Linear are not known"):
        BackboneLevels(nn.Linear(2, 2), torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match="no features of stride 64 but of 2, 4, 8, 16, 32"):
        BackboneLevels(mobilenet_v2(), torch.zeros(1, 3, 64, 64), (4, 64))
    with pytest.raises(ValueError, match="no students"):
        AnomalyNetwork(ConvLevels(1, 2), [])
    with pytest.raises(ValueError, match="width 0"):
        ConvLevels(1, 0)
