"""The divergence of a student on its own texts, against a loop over them."""

import pytest
import torch

pytest.importorskip("transformers")

from compress.backends.continue_prompts import Sampling, continue_prompts
from compress.core.seed_of import seed_of
from compress.distill.generation.on_policy_split import Writing
from compress.distill.generation.own_texts import METRIC, own_text_divergence, own_text_scores
from compress.distill.generation.written_batches import prompts_of
from compress.tasks.text.causal_language_model import CausalLanguageModel
from tests.backends.tiny_decoder import network
from tests.distill.generation.test_on_policy_split import END, prompts

WRITING = Writing(END, 0, 32, 1, 7)


def scores(student, teacher):
    return own_text_scores(student, teacher, prompts(), CausalLanguageModel(), WRITING, 5)


def test_it_sums_the_reverse_divergence_over_the_tokens_of_each_text():
    student, teacher = network().eval(), network(seed=1).eval()
    found = scores(student, teacher)
    rows = prompts_of(next(iter(prompts().ordered(32))))
    generator = torch.Generator().manual_seed(seed_of("own", 7, 0))
    texts = continue_prompts([(student, 1.0)], rows, Sampling(1.0, max_new_tokens=5), end=END, most=32, generator=generator)
    for prompt, tokens, length, (divergence, count) in zip(rows, texts.tokens, texts.lengths, found, strict=True):
        ids = torch.cat([prompt, tokens[: length - 1]])[None]
        p_s, p_t = (net(ids, torch.ones_like(ids))[0, len(prompt) - 1 :].log_softmax(1) for net in (student, teacher))
        assert count == int(length)
        assert divergence == pytest.approx((p_s.exp() * (p_s - p_t)).sum().item(), rel=1e-3)


def test_a_student_that_is_its_teacher_has_none():
    assert METRIC.value(scores(network(), network())) == pytest.approx(0.0, abs=1e-6)


def test_the_record_has_its_interval():
    quantity = own_text_divergence(scores(network(), network(seed=1)), "before")
    assert quantity.low < quantity.value < quantity.high
    assert quantity.unit == "nat"
