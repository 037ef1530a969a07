"""Responses of the teacher, written once."""

import pytest
import torch

pytest.importorskip("transformers")

from compress.core.progress import NullReporter
from compress.distill.generation.settings import Generation
from compress.distill.generation.teacher_texts import write_teacher_texts
from compress.distill.generation.written_batches import prompts_of, responses_of
from tests.backends.test_continue_prompts import greedy
from tests.backends.tiny_decoder import network
from tests.distill.generation.test_on_policy_split import END, prompts


def write(module, cache, key="a", **fields):
    return write_teacher_texts(
        prompts(),
        module,
        Generation(teacher=1.0, max_new_tokens=5, **fields),
        end=END,
        most=32,
        seed=0,
        key=key,
        cache=cache,
        reporter=NullReporter(),
    )


def test_each_prompt_has_the_text_of_the_teacher(tmp_path):
    module = network()
    texts = write(module, tmp_path, temperature=0.0)
    batch = next(iter(prompts().epoch(0, 8, 0)))
    made = texts.batch(batch, 0)
    for prompt, response in zip(prompts_of(batch), responses_of(made), strict=True):
        assert response.tolist() == greedy(module, prompt.tolist(), 5)


def test_texts_are_read_where_they_are_known_and_written_anew_where_they_are_not(tmp_path):
    first = write(network(), tmp_path).responses
    assert torch.equal(write(network(seed=5), tmp_path).responses.values, first.values)
    (file,) = tmp_path.iterdir()
    assert not torch.equal(write(network(seed=5), tmp_path, key="b").responses.values, first.values)
    file.write_bytes(b"damaged")
    assert torch.equal(write(network(), tmp_path).responses.values, first.values)
