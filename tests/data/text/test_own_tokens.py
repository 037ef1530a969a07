import pytest
import torch

from compress.core.errors import DataError
from compress.core.sentences import render
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.text.own_tokens import data_in_tokens, own_tokens_fact, split_in_tokens, tokenizer_of_data
from compress.data.text.settings import TrainedTokenizer
from compress.data.text.split import IDS, TYPES
from compress.data.text.train_tokenizer import train_tokenizer
from compress.tasks.text.text_classification import TextClassification
from compress.train.teachers.cached_logits import CachedTeacher
from compress.train.teachers.logit_shards import LogitFolder
from tests.data.text.toy_texts import toy_rows, write_csv


@pytest.fixture
def bpe(tmp_path):
    """A folder with a tokenizer of another kind."""
    made = train_tokenizer(TrainedTokenizer(train="bpe", vocabulary=300), [text for text, _ in toy_rows()], 512)
    (tmp_path / "other").mkdir()
    made.tokenizer.save(str(tmp_path / "other" / "tokenizer.json"))
    return made


def load(base, rows=None, header="text,target", **columns):
    write_csv(base / "t.csv", rows, header)
    tokenizer = {"train": "wordpiece", "vocabulary": 200}
    settings = {"source": "csv:t.csv", "tokenizer": tokenizer, "columns": columns, "lengths": {"typical": 8, "most": 16}}
    return load_data(DataSettings.model_validate(settings), base=base)


def test_every_split_has_the_same_texts_and_targets_in_other_tokens(tmp_path, bpe):
    data = load(tmp_path)
    own = data_in_tokens(data, "other", tmp_path)
    for split, read in zip((data.train, data.validation, data.test), (own.train, own.validation, own.test), strict=True):
        assert read.texts == split.texts
        assert torch.equal(read.targets["target"], split.targets["target"])
        texts = [bpe.tokenizer.encode(text).ids[:16] for text in split.texts]
        assert [read.inputs[IDS].row(index).tolist()[1:-1] for index in range(3)] == [ids[1:-1][:14] for ids in texts[:3]]
    assert own.spec.classes == data.spec.classes
    assert own.spec.signature.inputs[0].values == (0, bpe.vocabulary - 1)
    assert own.spec.text.tokenizer == tokenizer_of_data(own).sha256 != data.spec.text.tokenizer
    sentence = render(own_tokens_fact(own, "hf:net"))
    assert f"by its own tokenizer of {bpe.vocabulary} tokens" in sentence
    assert f"of {len(data.test)} test texts are longer than 16 of its tokens" in sentence


def test_pairs_keep_both_texts(tmp_path, bpe):
    rows = [(f"{text},{other}", 0.5) for (text, _), (other, _) in zip(toy_rows(40), toy_rows(40, 1), strict=True)]
    data = load(tmp_path, rows, "text,second,target", text_pair="second", targets="scores")
    own = split_in_tokens(data.train, bpe)
    for index, text in enumerate(data.train.origin.table.pairs[:4]):
        assert own.second.row(index).tolist() == bpe.encode([text]).ids.row(0).tolist()
    classes = load(tmp_path, rows, "text,second,target", text_pair="second", targets="values")
    read = split_in_tokens(classes.train, bpe)
    table = classes.train.origin.table
    assert torch.equal(read.inputs[TYPES].row(0), bpe.encode(table.texts[:1], table.pairs[:1]).types.row(0))


class CountTokens(torch.nn.Module):
    """Logits of a text: its number of tokens, and its largest token."""

    def forward(self, input_ids, attention_mask):
        return torch.stack([attention_mask.sum(1), (input_ids * attention_mask).amax(1)], 1).float()


def test_cached_and_computed_logits_are_those_of_the_own_tokens(tmp_path, bpe):
    data = load(tmp_path)
    own = split_in_tokens(data.train, bpe)
    teachers = {
        name: CachedTeacher([CountTokens()], data.train, TextClassification(), key="k", cache=LogitFolder(tmp_path), own=each)
        for name, each in (("data", ()), ("own", (own,)))
    }
    assert teachers["own"].folder != teachers["data"].folder  # logits of other tokens are others
    for batch in data.train.epoch(0, 7, 0):
        texts = [data.train.texts[index] for index in batch.samples.tolist()]
        expected = torch.tensor([[len(ids), max(ids)] for ids in (bpe.encode([text]).ids.row(0).tolist() for text in texts)])
        assert torch.equal(teachers["own"].logits(batch), expected.float())
        assert torch.equal(teachers["own"].logits(batch._replace(views=None)), expected.float())
        assert not torch.equal(teachers["data"].logits(batch), expected.float())


def test_samples_that_are_no_whole_texts_are_refused(tmp_path, bpe):
    data = load(tmp_path, targets="masked")
    with pytest.raises(DataError, match=r"no whole texts that it could read anew; .* `tokenizer: model`"):
        split_in_tokens(data.train, bpe)
