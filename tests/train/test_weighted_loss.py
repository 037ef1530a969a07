import torch
from torch.nn import functional as F

from compress.distill.losses.hard_labels import HardLabels
from compress.distill.losses.response import Response
from compress.tasks.classification import Classification
from compress.train.curriculum.mixup import MixedBatch
from compress.train.curriculum.settings import Curriculum
from compress.train.features.matched_layers import FeatureMatcher
from compress.train.teachers.online import TeacherOutputs
from compress.train.weighted_loss import WeightedLoss
from tests.train.toy_training import conv_net, toy_data


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_labels_of_both_images_count_by_their_share():
    data, terms = toy_data(), (HardLabels(), Response())
    batch = next(iter(data.train.ordered(6)))
    student, teacher = draw(6, 3), draw(6, 3, seed=1)
    objective = WeightedLoss(
        terms, FeatureMatcher(terms, conv_net(), [], batch.input), Classification(), 0.0, Curriculum(mixup=1.0)
    )
    partner = torch.tensor([1, 2, 3, 4, 5, 0])
    outputs, mixed = {"logits": student}, MixedBatch(batch.input, partner, 0.3)
    rows = Classification().distillable(outputs, batch.targets)
    found = objective.loss(batch, outputs, rows, {}, TeacherOutputs(teacher), mixed, 0.5)
    hard = 0.3 * F.cross_entropy(student, batch.target) + 0.7 * F.cross_entropy(student, batch.target[partner])
    soft = 16 * F.kl_div((student / 4).log_softmax(1), (teacher / 4).softmax(1), reduction="batchmean")
    torch.testing.assert_close(found, hard + soft)
