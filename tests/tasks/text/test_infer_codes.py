"""Functions of the scripts, with a network that answers what the test says, against the metrics of the tasks."""

import json

import numpy as np
import pytest

pytest.importorskip("tokenizers")

from compress.data.sources.text.parts_of_texts import answers_in
from compress.data.text.answer_targets import answer_windows
from compress.data.text.settings import TrainedTokenizer
from compress.data.text.table import TextTable
from compress.data.text.train_tokenizer import train_tokenizer
from compress.tasks.text.answer_text import decode_text
from compress.tasks.text.best_span import best_spans
from compress.tasks.text.infer_codes import ANSWER, ANSWER_OR_NONE, EMBED, FILL_MASKS, FIND_ENTITIES

TEXT = "Anna Bob, of Newtown. Carl sees Newtown."
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
ROWS = {"input_ids": "ids", "attention_mask": "attention_mask"}


def script(code, folder, run, most=64, stride=None):
    """The names of a script beside a tokenizer."""
    from tokenizers import Tokenizer

    made = train_tokenizer(TrainedTokenizer(train="wordpiece", vocabulary=60), [TEXT, "who is where?"], most)
    if stride is not None:
        made.tokenizer.enable_truncation(most, stride=stride, strategy="only_second")
    (folder / "tokenizer.json").write_bytes(made.file)
    (folder / "labels.json").write_text(json.dumps(TAGS))

    def preprocess(texts):
        encodings = made.tokenizer.encode_batch(list(texts))
        return {name: np.array([getattr(each, row) for each in encodings]) for name, row in ROWS.items()}

    scope = {"np": np, "json": json, "HERE": folder, "Tokenizer": Tokenizer, "preprocess": preprocess, "run": run}
    scope |= {"INPUTS": list(ROWS), "ROWS": ROWS, "__name__": "infer"}
    exec(code.source, scope)  # noqa: S102  # code of this package
    return scope, made


def test_entities_are_those_of_the_first_tokens_of_words(tmp_path):
    wanted = {"A": 1, "B": 2, "N": 3, "C": 1}
    encoding = None

    def run(feeds):
        logits = np.zeros((*feeds["input_ids"].shape, len(TAGS)), np.float32)
        word = None
        for place, ((start, end), own) in enumerate(zip(encoding.offsets, encoding.word_ids, strict=True)):
            tag = wanted.get(TEXT[start : start + 1], 0) if own != word and end > start else 4
            logits[0, place, tag] = 5.0
            word = own
        return {"logits": logits}

    scope, made = script(FIND_ENTITIES, tmp_path, run)
    encoding = made.tokenizer.encode(TEXT)
    found = scope["entities"](TEXT)
    assert [(TEXT[start:end], name) for start, end, name, _ in found] == [
        ("Anna Bob", "PER"),
        ("Newtown", "LOC"),
        ("Carl", "PER"),
        ("Newtown", "LOC"),
    ]
    assert found[0][3] == pytest.approx(np.exp(5) / (np.exp(5) + 4))


@pytest.mark.parametrize("code", [ANSWER, ANSWER_OR_NONE])
def test_the_answer_is_that_of_the_metric_over_all_windows(code, tmp_path):
    import torch

    def run(feeds):
        ids = feeds["input_ids"].astype(np.float64)
        return {name: np.sin(ids * factor).astype(np.float32) for name, factor in (("start", 3.7), ("end", 5.1))}

    question, text = "where is who?", f"{TEXT} of of " * 4
    scope, made = script(code, tmp_path, run, most=30, stride=6)
    windows = answer_windows(TextTable([question], [text], [answers_in(text, "Carl", "row")]), made, 6)
    assert len(windows.rows) > 2
    everything = torch.arange(len(windows.rows))
    ids, first, last = (
        each.padded(everything)
        for each in (windows.encoded.ids, windows.targets["first_character"], windows.targets["next_character"])
    )
    start, end = (torch.from_numpy(values) for values in run({"input_ids": ids.numpy()}).values())
    spans = best_spans(start, end, last > first)
    row = int(spans.scores.argmax())
    begin, stop = int(first[row, spans.starts[row]]), int(last[row, spans.ends[row]])
    null = float((start[:, 0] + end[:, 0]).min())
    words, *places, score = scope["answer"](question, text)
    if code is ANSWER_OR_NONE and null > float(spans.scores[row]):
        assert words == ""
    else:
        assert (words, places) == (decode_text([*map(ord, text)])[begin:stop].strip(), [begin, stop])
        assert score == pytest.approx(float(spans.scores[row]), abs=1e-5)


def test_no_answer_is_given_where_it_is_likelier(tmp_path):
    def run(feeds):
        values = np.zeros(feeds["input_ids"].shape, np.float32)
        values[:, 0] = 4.0
        return {"start": values, "end": values}

    assert script(ANSWER_OR_NONE, tmp_path, run, stride=0)[0]["answer"]("who?", TEXT)[0] == ""
    assert script(ANSWER, tmp_path, run, stride=0)[0]["answer"]("who?", TEXT)[0] != ""


def test_each_mask_has_its_likeliest_tokens(tmp_path):
    def run(feeds):
        logits = np.tile(np.arange(60, dtype=np.float32), (*feeds["input_ids"].shape, 1))
        logits[0, 1] *= -1
        return {"logits": logits}

    scope, made = script(FILL_MASKS, tmp_path, run)
    first, second = scope["fill"]("[MASK] sees [MASK].", top=2)
    name = made.tokenizer.id_to_token
    assert [token for token, _ in first] == [name(0), name(1)]
    assert [token for token, _ in second] == [name(59), name(58)]
    assert second[0][1] == pytest.approx(1 - np.exp(-1), rel=1e-3)
    with pytest.raises(ValueError, match=r"has no \[MASK\]"):
        scope["fill"]("nothing hidden")


def test_vectors_and_their_cosine(tmp_path):
    scope, _ = script(EMBED, tmp_path, lambda _: {"embedding": np.array([[3.0, 4.0], [4.0, 3.0]], np.float32)})
    assert scope["embed"]("a", "b").shape == (2, 2)
    assert scope["similarity"]("a", "b") == pytest.approx(24 / 25)
