import pytest
import torch

from compress.core.errors import ModelError
from compress.data.batch import UNLABELLED, Batch
from compress.distill.losses.image_text.mdist import MDist, mean_divergence
from compress.distill.losses.image_text.rdist import RDist
from compress.distill.losses.image_text.token_places import split_places
from compress.tasks.image_text.visual_language import VisualLanguageTask
from compress.train.loss_term import LossInputs, MatchedFeatures, MatchedLayers

BATCH = Batch(
    {
        "image": torch.zeros(2, 3, 8, 8),
        "input_ids": torch.ones(2, 4).long(),
        "attention_mask": torch.tensor([[1] * 4, [1, 1, 1, 0]]),
    },
    {"target": torch.tensor([[UNLABELLED, 5, 3, 1], [UNLABELLED, UNLABELLED, 2, UNLABELLED]])},
)
"""Two samples of three visual tokens, with three tokens of an answer and one of a question, and with one and two."""


def logits(seed, width=6):
    return torch.randn(2, 3 + 4, width, generator=torch.Generator().manual_seed(seed))


def loss(term, student, teacher):
    inputs = LossInputs(BATCH, student, None, VisualLanguageTask(), features=(MatchedFeatures(student, teacher),))
    return float(term.forward(inputs))


def test_places_are_those_of_the_answer_the_image_and_the_question():
    z = logits(0)
    answer, image, question = split_places(z, BATCH)
    assert torch.equal(answer, torch.cat([z[0, 4:7], z[1, 5:6]]))
    assert torch.equal(image, torch.cat([z[0, :3], z[1, :3]]))
    assert torch.equal(question, torch.cat([z[0, 3:4], z[1, 3:5]]))


def test_mdist_is_the_weighted_sum_of_the_divergences_of_each_kind():
    student, teacher = logits(0), logits(1)
    expected = []
    for s, t in zip(split_places(student, BATCH), split_places(teacher, BATCH), strict=True):
        p, q = (t / 2).softmax(1), (s / 2).softmax(1)
        expected.append(4 * float((p * (p / q).log()).sum(1).mean()))
    term = MDist(temperature=2.0, response=0.5, visual=2.0, text=3.0)
    assert loss(term, student, teacher) == pytest.approx(0.5 * expected[0] + 2 * expected[1] + 3 * expected[2], rel=1e-5)
    alone = MDist(temperature=2.0, response=0.0, visual=0.0, text=1.0)
    assert loss(alone, student, teacher) == pytest.approx(expected[2], rel=1e-5)


def test_both_are_zero_for_equal_networks_and_padding_has_no_part():
    teacher = logits(1)
    student = teacher.clone()
    student[1, 6] += torch.randn(6)  # padding
    assert loss(MDist(text=1.0), student, teacher) == pytest.approx(0, abs=1e-6)
    assert loss(RDist(), student, teacher) == pytest.approx(0, abs=1e-6)
    assert float(mean_divergence(teacher[0, :0], teacher[0, :0], 1.0)) == 0


def test_other_vocabularies_and_other_numbers_of_visual_tokens_are_refused():
    wider = MatchedLayers("places", (7, 6), "places", (7, 9))
    with pytest.raises(ModelError, match="differ in width"):
        MDist().prepare([wider], 10)
    assert RDist().prepare([wider], 10) is None
    with pytest.raises(ModelError, match="7 and 11 tokens"):
        RDist().prepare([MatchedLayers("places", (7, 6), "places", (11, 6))], 10)
