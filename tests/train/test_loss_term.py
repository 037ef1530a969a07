import pytest
import torch
from pydantic import ValidationError
from torch import nn

from compress.distill.losses.features import Hint
from compress.distill.losses.hard_labels import HardLabels
from compress.distill.losses.jacobian import Jacobian
from compress.distill.losses.response import Response
from compress.tasks.classification import Classification
from compress.train.loss_term import LossInputs, LossTerm, MatchedLayers, online_terms
from compress.train.settings import Training
from tests.train.toy_training import plain_net, toy_data, train


class Squares(LossTerm):
    """Squared first logit of each sample."""

    def per_sample(self, inputs):
        return inputs.student_logits[:, 0].square()


def inputs(**more):
    return LossInputs(
        next(iter(toy_data().train.ordered(3))), torch.tensor([[1.0, 0], [2, 0], [3, 0]]), None, Classification(), **more
    )


def test_weighted_terms_add_up():
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 5, 3, generator=generator)
    batch = next(iter(toy_data().train.ordered(5)))
    cached_teacher = LossInputs(batch, student, teacher, Classification())
    hard, soft = HardLabels(weight=0.3), Response(weight=0.7)
    total = hard.weight * hard.forward(cached_teacher) + soft.weight * soft.forward(cached_teacher)
    reference = 0.3 * nn.functional.cross_entropy(student, batch.target) + 0.7 * Response().forward(cached_teacher)
    torch.testing.assert_close(total, reference)


def test_a_term_that_warms_up_counts_nothing_at_first(tmp_path):
    records = []
    module = plain_net()
    settings = Training(epochs=2, batch_size=16, lr=0.05, optimizer="sgd", weight_decay=0.0, schedule="constant", warmup=0.0)
    terms = (HardLabels(weight=1.0, warmup=0.5),)
    train(module, tmp_path, settings, terms=terms, after_step=lambda: records.append(module[0].weight.detach().clone()))
    assert torch.equal(records[0], plain_net()[0].weight)
    assert not torch.equal(records[1], records[0])


def test_a_loss_of_each_sample_is_averaged_with_the_samples_weights():
    assert float(Squares().forward(inputs())) == pytest.approx(14 / 3)
    assert float(Squares().forward(inputs(sample_weights=torch.tensor([3.0, 0.0, 0.0])))) == pytest.approx(1.0)


def test_the_factor_rises_linearly_to_the_weight():
    term = Squares(weight=2.0, warmup=0.5)
    assert [term.weight_at(progress) for progress in (0.0, 0.25, 0.5, 0.9)] == [0.0, 1.0, 2.0, 2.0]
    assert Squares(weight=2.0).weight_at(0.0) == 2.0


def test_a_term_without_a_loss_and_logits_that_were_not_requested_name_what_to_declare():
    with pytest.raises(NotImplementedError, match="LossTerm must define `per_sample` or `forward`"):
        LossTerm().forward(inputs())
    with pytest.raises(TypeError, match=r"must declare needs = \('teacher_logits',\)"):
        inputs().require_teacher_logits()


def test_a_temperature_of_the_curriculum_replaces_the_terms_own():
    assert inputs().temperature_or(4.0) == 4.0
    temperatures = torch.tensor([1.0, 2.0, 3.0])
    assert inputs(temperature=temperatures).temperature_or(4.0) is temperatures


def test_only_features_and_input_gradients_need_the_teacher_in_every_step():
    assert online_terms((HardLabels(), Response(), Hint(), Jacobian())) == (Hint(), Jacobian())


def test_matched_layers_are_described_with_their_shapes():
    assert str(MatchedLayers("a", (4, 8, 8), "b", (6, 8, 8))) == "a (4×8×8) from b (6×8×8)"


@pytest.mark.parametrize("fields", [{"weight": -1.0}, {"warmup": 1.5}, {"weigth": 1.0}])
def test_settings_out_of_range_and_unknown_ones_are_refused(fields):
    with pytest.raises(ValidationError):
        Squares(**fields)
