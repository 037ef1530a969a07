"""The training data of a stage whose responses networks write."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("transformers")

from compress.core.errors import DataError
from compress.core.progress import NullReporter
from compress.core.stage import Context
from compress.data.factory import load_data
from compress.distill.generation.on_policy_split import WrittenTexts
from compress.distill.generation.prepare import with_written_texts, writing_results
from compress.distill.generation.settings import Generation
from compress.distill.generation.written_batches import responses_of
from compress.tasks.text.causal_language_model import CausalLanguageModel
from compress.train.loss_term import POLICY
from tests.backends.tiny_decoder import network
from tests.data.text.test_responses import PROMPTS, RESPONSES, settings_for, write_rows
from tests.distill.generation.test_on_policy_split import OneNetwork


@pytest.fixture
def context(tmp_path):
    path = write_rows(tmp_path / "pairs.jsonl", [{"q": q, "a": a} for q, a in zip(PROMPTS, RESPONSES, strict=True)])
    data = load_data(settings_for(path, {"prompt": "q", "response": "a"}), base=tmp_path)
    return Context(data, CausalLanguageModel(), tmp_path, tmp_path / "cache", seed=3, device="cpu", reporter=NullReporter())


def test_the_stage_trains_on_texts_of_the_student_and_the_teacher(context):
    student, teacher = network(size=320), OneNetwork(network(seed=1, size=320).eval())
    settings = Generation(student=0.5, teacher=0.5, max_new_tokens=4)
    changed, written = with_written_texts(context, student, settings, teacher, window=3)
    assert changed.data.train is written
    assert changed.data.validation is context.data.validation
    assert written.writing.window == 3
    batches = list(written.epoch(0, 4, 0))
    assert [POLICY in batch.targets for batch in batches] == [bool(index % 2) for index in range(len(batches))]
    assert all(len(row) <= 4 for batch in batches for row in responses_of(batch))
    assert len(list((context.folder / "cache").glob("texts-*"))) == 1
    results = writing_results(written, 1)
    assert results["texts_written"].value == sum(batch.size for batch in batches[1::2])
    assert 1.0 <= results["tokens_per_text"].value <= 4.0
    assert results["writing_s"].value > 0


def test_counts_of_a_training_that_was_continued_are_not_given():
    split = SimpleNamespace(settings=Generation(student=1.0), written=WrittenTexts(texts=5, tokens=9, epochs=1))
    assert writing_results(split, 2)["texts_written"].value is None
    assert writing_results(split, 1)["tokens_per_text"].value == 9 / 5
    assert writing_results(SimpleNamespace(settings=Generation(teacher=1.0)), 1) == {}


def test_data_without_a_tokenizer_are_refused(context):
    bare = replace(context, data=replace(context.data, files={}))
    with pytest.raises(DataError, match="the data have no tokenizer"):
        with_written_texts(bare, network(size=320), Generation(student=1.0), None, window=1)
