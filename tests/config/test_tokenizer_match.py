"""Networks with weights for another tokenizer than that of the data."""

import json

import pytest

from compress.config.recipe import loads
from compress.config.tokenizer_match import vocabulary
from compress.core.errors import RecipeError

RECIPE = """
name: a
task: text_classification
data: {{source: python_docs{data}}}
model: {{source: "{model}"}}
teacher: {{source: "{teacher}"}}
stages: [{{distill: {{losses: [{{soft_labels: {{}}}}]}}}}]
"""


def folder(path, tokens):
    path.mkdir()
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (path / "tokenizer.json").write_text(json.dumps({"model": {"type": "WordPiece", "vocab": vocabulary}}))


def read(base, data="", model="encoder:tiny", teacher="hf:net"):
    return loads(RECIPE.format(data=data, model=model, teacher=teacher), base=base)


@pytest.fixture
def base(tmp_path):
    folder(tmp_path / "net", ["[PAD]", "a", "b"])
    folder(tmp_path / "same", ["[PAD]", "a", "b"])
    folder(tmp_path / "other", ["[PAD]", "b", "a"])
    return tmp_path


def test_one_tokenizer_fits_networks_that_have_it(base):
    assert read(base).data.tokenizer == "net"
    read(base, model="hf:same")
    read(base, data=", tokenizer: same", model="hf:net")


@pytest.mark.parametrize("data", [", tokenizer: other", ", tokenizer: {train: wordpiece, vocabulary: 100}"])
def test_a_teacher_with_another_tokenizer_is_refused_with_the_losses_that_work(base, data):
    with pytest.raises(RecipeError) as refusal:
        read(base, data=data)
    message = str(refusal.value)
    assert "hf:net has another tokenizer than the data" in message
    aligned, others = message.split("need one tokenizer (")[1].split("): set data.tokenizer: model")
    assert {"hidden_states", "attention_scores", "attention_maps", "relations", "embedding"} <= set(aligned.split(", "))
    assert "soft_label_file" in others
    assert "soft_labels" in others.rpartition("losses on answers: ")[2]


def test_a_student_with_weights_for_another_tokenizer_is_refused(base):
    with pytest.raises(RecipeError, match="hf:other has weights for another tokenizer than that of the data"):
        read(base, model="hf:other")


def test_vocabularies_are_read_from_each_form_of_file(tmp_path):
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "vocab.txt").write_text("[PAD]\na\n")
    assert vocabulary(tmp_path / "bert") == {"[PAD]": 0, "a": 1}
    (tmp_path / "unigram.json").write_text(json.dumps({"model": {"vocab": [["<pad>", 0.0], ["a", -1.5]]}}))
    assert vocabulary(tmp_path / "unigram.json") == {"<pad>": 0, "a": 1}
    assert vocabulary(tmp_path / "missing") is None
