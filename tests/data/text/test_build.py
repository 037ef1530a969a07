import pytest
import torch

pytest.importorskip("tokenizers")

from compress.core.errors import DataError
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.text.settings import Columns, Lengths, PrunedTokenizer, TrainedTokenizer
from tests.data.text.toy_texts import toy_rows, write_csv

SMALL = TrainedTokenizer(train="wordpiece", vocabulary=200)


def loaded(path, **fields):
    settings = DataSettings(source=f"csv:{path}", **{"tokenizer": SMALL, "lengths": Lengths(typical=8, most=10), **fields})
    return load_data(settings, base=path.parent)


def test_a_table_becomes_three_splits_and_a_specification(tmp_path):
    data = loaded(write_csv(tmp_path / "t.csv"))
    assert data.spec.classes == ("bad", "good")
    text = data.spec.text
    assert text is not None
    assert (text.max_length, text.pad_id, text.pairs) == (10, 0, False)
    assert [tensor.name for tensor in data.spec.signature.inputs] == ["input_ids", "attention_mask"]
    assert data.spec.signature.sizes["sequence"] == (1, 8, 10)
    ids = torch.cat([batch.inputs["input_ids"].flatten() for batch in data.train.ordered(8)])
    assert ids.max() <= data.spec.signature.inputs[0].values[1]
    assert list(data.files) == ["tokenizer.json"]
    assert [fact.code for fact in data.warnings].count("data.texts_cut") >= 1


def test_the_tokenizer_knows_the_training_texts_alone(tmp_path):
    write_csv(tmp_path / "train.csv", toy_rows(20))
    write_csv(tmp_path / "validation.csv", [("xylophone fine", "good"), ("cat awful", "bad")])
    write_csv(tmp_path / "test.csv", [("dog fine", "good"), ("cat broken", "bad")])
    data = loaded(tmp_path)
    assert b"xylo" not in data.files["tokenizer.json"]
    assert (len(data.train), len(data.validation), len(data.test)) == (20, 2, 2)


def test_the_tokenizer_of_a_file_is_used(tmp_path):
    trained = loaded(write_csv(tmp_path / "t.csv"))
    (tmp_path / "tokenizer.json").write_bytes(trained.files["tokenizer.json"])
    again = loaded(tmp_path / "t.csv", tokenizer=".")
    assert again.spec == trained.spec
    assert again.train.fingerprint == trained.train.fingerprint


def test_pairs_have_token_types(tmp_path):
    rows = [(f"{text},{text} again", name) for text, name in toy_rows()]
    data = loaded(write_csv(tmp_path / "t.csv", rows, "text,other,target"), columns=Columns(text_pair="other"))
    assert [tensor.name for tensor in data.spec.signature.inputs] == ["input_ids", "attention_mask", "token_type_ids"]
    assert data.spec.text.pairs


def test_copies_in_two_splits_are_told(tmp_path):
    data = loaded(write_csv(tmp_path / "t.csv", toy_rows(20) * 4))
    assert "data.duplicates_between_splits" in [fact.code for fact in data.warnings]


def test_limits_and_withheld_labels(tmp_path):
    data = loaded(write_csv(tmp_path / "t.csv"), limit=20, labelled=6, evaluation_limit=4)
    assert (len(data.train), len(data.validation), len(data.test)) == (20, 4, 4)
    assert (data.train.labels >= 0).sum() == 6


def test_a_table_without_targets_has_none(tmp_path):
    data = loaded(write_csv(tmp_path / "t.csv", header="text,other"))
    assert data.spec.classes == ()
    assert next(iter(data.train.ordered(2))).targets == {}


def test_too_few_texts_are_refused(tmp_path):
    with pytest.raises(DataError, match="texts, at least"):
        loaded(write_csv(tmp_path / "t.csv", toy_rows(2)))


def test_a_pruned_tokenizer_gives_the_training_texts_the_same_tokens(tmp_path):
    from tokenizers import Tokenizer

    train = toy_rows(20)
    write_csv(tmp_path / "train.csv", train)
    write_csv(tmp_path / "validation.csv", [("dog fine", "good"), ("cat awful", "bad")])
    write_csv(tmp_path / "test.csv", [("zebra fine", "good"), ("cat broken", "bad")])
    whole = loaded(tmp_path, tokenizer=TrainedTokenizer(train="wordpiece", vocabulary=400))
    (tmp_path / "tokenizer.json").write_bytes(whole.files["tokenizer.json"])
    larger = Tokenizer.from_str(whole.files["tokenizer.json"].decode())
    larger.add_tokens(["neverused"])
    (tmp_path / "tokenizer.json").write_text(larger.to_str(), encoding="utf-8")
    (tmp_path / "few").mkdir()
    for name in ("validation.csv", "test.csv"):
        (tmp_path / "few" / name).write_bytes((tmp_path / name).read_bytes())
    write_csv(tmp_path / "few" / "train.csv", train[:3])
    data = loaded(tmp_path / "few", tokenizer=PrunedTokenizer(of=str(tmp_path / "tokenizer.json"), keep="used"))
    made = Tokenizer.from_str(data.files["tokenizer.json"].decode())
    kept = data.spec.text.kept
    assert made.get_vocab_size() == len(kept.numbers) < kept.total == larger.get_vocab_size()
    assert data.spec.signature.inputs[0].values == (0, len(kept.numbers) - 1)
    assert data.spec.text.pad_id == made.token_to_id("[PAD]")
    larger.no_truncation()
    for text, _ in train[:3]:
        made.no_truncation()
        assert made.encode(text).tokens == larger.encode(text).tokens
    assert data.spec.without_kept().text.kept is None


def test_training_texts_without_a_target_are_counted_and_a_column_without_any_is_refused(tmp_path):
    lines = [f"text {row} here,{'ab'[row % 2]}" for row in range(40)]
    (tmp_path / "some.csv").write_text("\n".join(["text,target", *lines, "text without,"]) + "\n")
    facts = [fact for fact in loaded(tmp_path / "some.csv").warnings if fact.code == "data.texts_without_target"]
    assert [fact.values["count"] for fact in facts] == [1]
    assert facts[0].subject.endswith("some.csv line 42")
    (tmp_path / "none.csv").write_text("text,target\n" + "a text,\n" * 40)
    with pytest.raises(DataError, match="no training text has a target in the column target"):
        loaded(tmp_path / "none.csv")
