"""Texts as blocks of tokens against the row of all their tokens."""

import pytest
import torch

pytest.importorskip("tokenizers")

from compress.core.errors import DataError
from compress.data.batch import BYTES, TARGET
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.text.packing import end_token, packed_split, token_stream
from compress.data.text.settings import Columns, Lengths, TrainedTokenizer
from compress.data.text.tokenizer import TextTokenizer
from compress.data.text.train_tokenizer import train_tokenizer

TEXTS = [f"the {word} café number {index} is open 日本" for index, word in enumerate(("old", "new", "red", "big") * 10)]


def tokenizer(train="bpe", most=16):
    return train_tokenizer(TrainedTokenizer(train=train, vocabulary=300, lowercase=False), TEXTS, most, adds_special=False)


def blocks(texts=TEXTS, length=16, made=None):
    return packed_split(texts, made or tokenizer(), length, "training")[0]


def test_blocks_hold_all_tokens_and_targets_are_the_next_ones():
    made = tokenizer()
    rows = [made.tokenizer.encode(text, add_special_tokens=False) for text in TEXTS]
    made.tokenizer.no_truncation()
    row = [token for text in TEXTS for token in [*made.tokenizer.encode(text).ids, end_token(made)]]
    assert len(rows[0].ids) <= 16
    split = blocks()
    (batch,) = split.ordered(1000)
    mask, target = batch.inputs["attention_mask"] > 0, batch.targets[TARGET]
    assert batch.inputs["input_ids"][mask].tolist() == row[:-1]
    assert target[mask].tolist() == row[1:]
    assert bool((target[~mask] == -100).all())
    assert split.lengths[:-1].tolist() == [16] * (len(split) - 1)
    assert 0 < int(split.lengths[-1]) <= 16
    assert row.count(end_token(made)) == len(TEXTS)


@pytest.mark.parametrize("train", ["bpe", "wordpiece", "unigram"])
def test_bytes_of_tokens_sum_up_to_those_of_the_texts(train, tmp_path, monkeypatch):
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path))
    made = tokenizer(train)
    texts = [*TEXTS, "", "  two blanks at both ends  "]
    stream = token_stream(texts, made)
    for number, text in enumerate(texts):
        assert int(stream.sizes[stream.texts == number].sum()) == len(text.encode())
    assert stream.empty == 1
    assert bool((stream.sizes >= 0).all())
    split = blocks(made=made)
    whole = token_stream(TEXTS, made)
    assert int(split.targets[BYTES].sum()) == int(whole.sizes[1:].sum())


def test_equal_texts_have_equal_blocks_in_all_epochs():
    first, second = blocks(), blocks()
    assert first.fingerprint == second.fingerprint != blocks(length=8).fingerprint
    seen = [int(sample) for batch in first.epoch(0, 4, seed=0) for sample in batch.samples]
    assert len(set(seen)) == len(seen) >= len(first) - 1
    assert first.name(0).startswith("number 0: the old café")


def test_a_tokenizer_without_an_end_of_texts_and_too_few_texts_are_refused():
    from tokenizers import Tokenizer, models

    made = TextTokenizer.of(Tokenizer(models.BPE({"a": 0, "b": 1}, [])), 8, None)
    with pytest.raises(DataError, match="no token that ends a text"):
        end_token(made)
    named = TextTokenizer.of(Tokenizer(models.BPE({"a": 0, "b": 1}, [])), 8, None, "b")
    assert end_token(named) == 1
    with pytest.raises(DataError, match=r"fewer than 2 blocks of 512; give more text, or lower `lengths: \{most: 512\}`"):
        blocks(TEXTS[:2], length=512)


def text_settings(path, **fields):
    columns = Columns(targets="next", **fields)
    return DataSettings(
        source=f"text:{path}",
        columns=columns,
        tokenizer=TrainedTokenizer(train="bpe", vocabulary=300, lowercase=False),
        lengths=Lengths(typical=8, most=16),
    )


def test_a_file_of_texts_becomes_data(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("\n".join(TEXTS), encoding="utf-8")
    data = load_data(text_settings(path), base=tmp_path)
    batch = next(iter(data.test.ordered(4)))
    assert batch.targets[TARGET].shape == batch.inputs["input_ids"].shape == (4, 16)
    assert torch.equal(batch.targets[TARGET][:, :-1], batch.inputs["input_ids"][:, 1:])
    assert data.spec.signature.sizes["sequence"].most == 16
    with pytest.raises(DataError, match="reads single texts"):
        load_data(text_settings(path, text_pair="second"), base=tmp_path)
