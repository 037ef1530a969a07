"""The code of `infer.py` that continues a text, run with a network that is a table of next tokens."""

import numpy as np
import pytest

from compress.tasks.text.infer_continue import CONTINUE

tokenizers = pytest.importorskip("tokenizers")
WORDS = ["[UNK]", "a", "b", "c", "stop", "</s>", "Q", "A"]


def continued(text, following, tmp_path, end="stop", around=("", "")):
    """What the code continues a text with, where each token is followed by the one in `following`."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: n for n, word in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    seen = []

    def preprocess(texts):
        seen.extend(texts)
        ids = np.array([tokenizer.encode(texts[0]).ids])
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}

    def run(feeds):
        table = np.eye(len(WORDS))[[WORDS.index(following.get(word, "[UNK]")) for word in WORDS]]
        return {"logits": table[feeds["input_ids"]]}

    names = {"preprocess": preprocess, "run": run, "HERE": tmp_path, "END": end, "np": np, "Tokenizer": tokenizers.Tokenizer}
    names |= {"BEFORE": around[0], "AFTER": around[1], "__name__": "infer"}
    exec(CONTINUE.source, names)  # noqa: S102  # the code of the package itself
    return names["continue_text"](text), seen[0]


def test_it_stops_at_the_tokenizers_own_end_and_at_no_other(tmp_path):
    following = {"a": "b", "b": "c", "c": "</s>", "</s>": "a"}
    assert continued("a", {"a": "b", "b": "stop"}, tmp_path)[0] == "b"
    assert continued("a", following, tmp_path, end="</s>")[0] == "b c"
    assert continued("a", following, tmp_path)[0].startswith("b c </s> a b")


@pytest.mark.parametrize(
    ("text", "around", "whole"),
    [("a", ("", "\n"), "a\n"), ("a ", ("", "\n"), "a "), ("a", ("Q ", " A"), "Q a A"), ("a ", ("Q ", "\n A"), "Q a \n A")],
)
def test_a_prompt_is_written_as_in_training(text, around, whole, tmp_path):
    assert continued(text, {"a": "stop", "A": "stop"}, tmp_path, around=around)[1] == whole
