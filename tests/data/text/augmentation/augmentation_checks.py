"""Small texts, a tokenizer with words of one and of several tokens, and small networks."""

from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from compress.data.text.augmentation.base import Resources
from compress.data.text.augmentation.words import split_words
from compress.data.text.settings import TrainedTokenizer
from compress.data.text.train_tokenizer import train_tokenizer
from tests.data.text.toy_texts import toy_rows

TEXTS = [text for text, _ in toy_rows(40)]
RARE = "hoven"
"""A word of several tokens."""


def tokenizer(kind="wordpiece", texts=(*TEXTS, *TEXTS), vocabulary=400, most=64):
    return train_tokenizer(TrainedTokenizer(train=kind, vocabulary=vocabulary), list(texts), most)


def resources(own=None, teacher=None, base=None):
    own = own or tokenizer()
    return Resources(own, teacher, **({} if base is None else {"base": base}))


def teacher_of(own, width=8, seed=0):
    """A table of random vectors."""
    module = nn.Module()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module.table = nn.Embedding(own.vocabulary, width)
    return module


def drawn(method, texts, own=None, seed=0, **more):
    """One change of each text: the words of the texts, and what stands in their places."""
    given = resources(own, **more)
    words = split_words(given.tokenizer, texts)
    rng = np.random.default_rng(seed)
    return [SimpleNamespace(words=each, slots=draw(rng)) for each, draw in zip(words, method.editor(given)(words), strict=True)]


def masked_network(own, kind="ForMaskedLM"):
    """A masked language model of these tokens with random weights."""
    import transformers

    config = transformers.BertConfig(
        vocab_size=own.vocabulary, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = getattr(transformers, f"Bert{kind}")(config).eval()
        for parameter in module.parameters():
            if parameter.ndim == 2:
                parameter.data.normal_(0, 0.5)
    return module
