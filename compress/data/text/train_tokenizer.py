"""Train a tokenizer on texts: WordPiece, byte-level BPE, or Unigram, each with the special tokens of BERT.

    wordpiece   Schuster & Nakajima 2012; as BERT splits words: at spaces, punctuation and around each Chinese character
    bpe         Sennrich et al. 2016, arXiv:1508.07909, on bytes as in GPT-2: no text has an unknown token
    unigram     Kudo 2018, arXiv:1804.10959, as in SentencePiece: for languages without spaces between words, too

Two trainings of Unigram differ, so its tokenizer is kept in the user's cache, and trained once for equal texts.

A single text is encoded as `[CLS] text [SEP]`, a pair as `[CLS] text [SEP] pair [SEP]`; for a network that continues a text,
without special tokens, and `[SEP]` ends a text of its training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.text.settings import TrainedTokenizer
from compress.data.text.tokenizer import TextTokenizer
from compress.data.text.tokenizer_cache import remembered
from compress.data.text.tokenizer_files import import_tokenizers

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, UNKNOWN, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL = (PAD, UNKNOWN, CLS, SEP, MASK)
"""Special tokens, which have the numbers 0 to 4."""


def train_tokenizer(settings: TrainedTokenizer, texts: Sequence[str], most: int, *, adds_special: bool = True) -> TextTokenizer:
    """Train a tokenizer.

    Args:
        settings: Kind and size of the vocabulary.
        texts: Training texts, and no others: those of validation and test are as unknown to it as to the network.
        most: Longest sequence in tokens.
        adds_special: Whether it adds `[CLS]` and `[SEP]` to texts.

    Raises:
        DataError: The texts have no characters.
        MissingPackageError: tokenizers is not installed.
    """
    import_tokenizers()
    if not any(text.strip() for text in texts):
        raise DataError(gettext("all training texts are empty, so no tokenizer can be trained on them"))
    from tokenizers.processors import TemplateProcessing

    if settings.train == "unigram":
        tokenizer = remembered(settings, texts, lambda: _unigram(settings, texts))
    else:
        tokenizer = (_wordpiece if settings.train == "wordpiece" else _bpe)(settings, texts)
    if adds_special:
        tokenizer.post_processor = TemplateProcessing(
            single=f"{CLS} $A {SEP}",
            pair=f"{CLS} $A {SEP} $B:1 {SEP}:1",
            special_tokens=[(name, tokenizer.token_to_id(name)) for name in (CLS, SEP)],
        )
    return TextTokenizer.of(tokenizer, most, PAD, SEP)


def _wordpiece(settings: TrainedTokenizer, texts: Sequence[str]) -> Tokenizer:
    """Its first tokens are the characters within words: the trainer numbers them in a random order, which ties depend on."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=settings.lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    inner = {letter for text in texts for word in _words(tokenizer, text) for letter in word[1:]}
    first = [*SPECIAL, *(f"##{letter}" for letter in sorted(inner))]
    trainer = trainers.WordPieceTrainer(vocab_size=settings.vocabulary, special_tokens=first, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    made = Tokenizer(models.WordPiece(tokenizer.get_vocab(with_added_tokens=False), unk_token=UNKNOWN))
    made.normalizer, made.pre_tokenizer, made.decoder = tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder
    made.add_special_tokens(list(SPECIAL))
    return made


def _words(tokenizer: Tokenizer, text: str) -> list[str]:
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))]


def _bpe(settings: TrainedTokenizer, texts: Sequence[str]) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), *([normalizers.Lowercase()] if settings.lowercase else [])])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _unigram(settings: TrainedTokenizer, texts: Sequence[str]) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), *([normalizers.Lowercase()] if settings.lowercase else [])]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=settings.vocabulary, special_tokens=list(SPECIAL), unk_token=UNKNOWN, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
