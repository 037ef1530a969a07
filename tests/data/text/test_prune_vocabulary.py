"""The texts that were looked at have the same tokens under new numbers, for each kind of tokenizer."""

from __future__ import annotations

import json

import pytest

from compress.core.errors import DataError
from compress.data.text.prune_vocabulary import _check, prune_vocabulary

tokenizers = pytest.importorskip("tokenizers")
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers  # noqa: E402

CORPUS = [
    f"{noun} {verb} the {adjective} {other} of number {number} — naïve café 数字网络 剪枝"
    for number, (noun, verb, adjective, other) in enumerate(
        zip(["teacher", "student", "network", "layer"] * 6, ["distils", "prunes", "measures"] * 8,
            ["lowest", "widest", "unquantized"] * 8, ["latency", "energy", "accuracy", "throughput"] * 6, strict=True)
    )
]  # fmt: skip
TEXTS = [*CORPUS[:3], "unseen zebra words — lower 枝", "x☃y"]
UNKNOWN = "[UNK]"
SPECIAL = ["[PAD]", UNKNOWN, "[CLS]", "[SEP]"]


def wordpiece() -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=220, special_tokens=SPECIAL, show_progress=False))
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def byte_bpe() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(CORPUS, trainer)
    made.post_processor = processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made


def suffix_bpe() -> Tokenizer:
    made = Tokenizer(models.BPE(unk_token=UNKNOWN, end_of_word_suffix="</w>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=260, special_tokens=SPECIAL, end_of_word_suffix="</w>", show_progress=False)
    )
    return made


def prefix_bpe() -> Tokenizer:
    made = Tokenizer(models.BPE(unk_token=UNKNOWN, continuing_subword_prefix="##"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=260, special_tokens=SPECIAL, continuing_subword_prefix="##", show_progress=False)
    )
    return made


def unigram() -> Tokenizer:
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=160, special_tokens=SPECIAL, unk_token=UNKNOWN, show_progress=False)
    made.train_from_iterator(CORPUS, trainer)
    made.post_processor = processors.Sequence([processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))])
    return made


def wordlevel() -> Tokenizer:
    made = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.train_from_iterator(CORPUS, trainers.WordLevelTrainer(special_tokens=SPECIAL, show_progress=False))
    return made


@pytest.mark.parametrize("make", [wordpiece, byte_bpe, suffix_bpe, prefix_bpe, unigram, wordlevel])
def test_texts_keep_their_tokens_under_new_numbers(make):
    whole = make()
    whole.add_tokens(["<extra>", AddedToken("zz top", normalized=False)])
    whole.enable_padding(pad_id=0, pad_token=SPECIAL[0])
    whole.enable_truncation(12)
    before = whole.to_str()
    pruned, kept = prune_vocabulary(whole, TEXTS)
    assert whole.to_str() == before
    size = whole.get_vocab_size()
    assert pruned.get_vocab_size() == len(kept.numbers) < size == kept.total
    for number, old in enumerate(kept.numbers):
        assert pruned.id_to_token(number) == whole.id_to_token(old)
    for text in [*TEXTS, "<extra> zz top"]:
        old, new = whole.encode(text), pruned.encode(text)
        assert new.tokens == old.tokens
        assert [kept.numbers[number] for number in new.ids] == old.ids
        assert new.attention_mask == old.attention_mask
    pair = pruned.encode("the teacher", "prunes").ids
    assert [kept.numbers[number] for number in pair] == whole.encode("the teacher", "prunes").ids
    assert all(pruned.token_to_id(name) is not None for name in (*SPECIAL, "<extra>", "zz top"))
    atoms = {token for token in whole.get_vocab() if len(token.removeprefix("##").removesuffix("</w>")) == 1}
    assert atoms <= pruned.get_vocab().keys()
    assert json.loads(pruned.to_str())["truncation"]["max_length"] == 12


def test_a_word_that_was_unknown_stays_unknown():
    vocabulary = {"[UNK]": 0, "a": 1, "ab": 2, "c": 3, "##bx": 4, "##cc": 5}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    assert [made.encode(text).tokens for text in ("abx", "cbx")] == [["[UNK]"], ["c", "##bx"]]
    pruned, kept = prune_vocabulary(made, ["abx", "cbx"])
    made.enable_padding(pad_id=5, pad_token="##cc")  # noqa: S106  # a token for padding stays, too
    assert prune_vocabulary(made, ["a"])[1].numbers == (0, 1, 3, 5)
    assert kept.numbers == (0, 1, 2, 3, 4)  # without `ab`, which is the longest token at its place, `abx` would be `a ##bx`
    assert pruned.encode("abx").tokens == ["[UNK]"]


def test_a_byte_level_bpe_still_splits_any_text():
    pruned, _ = prune_vocabulary(byte_bpe(), TEXTS[:1])
    text = "völlig andere Wörter ☃ 剪"
    assert pruned.decode(pruned.encode(text).ids, skip_special_tokens=True).encode() != b""
    assert "[UNK]" not in pruned.encode(text).tokens


def test_texts_that_would_be_split_otherwise_are_refused():
    whole = wordlevel()
    with pytest.raises(DataError, match="splits 'teacher prunes' otherwise; leave out `keep: used`"):
        _check(whole, whole, ["teacher prunes"], {number: number + 1 for number in range(whole.get_vocab_size())})
