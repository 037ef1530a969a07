import json

import numpy as np
import pytest

from compress.tasks.text.infer_text import CLASSIFY_TEXT, PREDICT_TEXT, TAG_TEXT

VALUES = np.array([[0.0, 2.0, -1.0]], np.float32)


def names(code, function, tmp_path):
    """The function of a script, with a network that answers `VALUES`."""
    (tmp_path / "labels.json").write_text(json.dumps(["a", "b", "c"]))
    scope = {"np": np, "json": json, "HERE": tmp_path, "preprocess": lambda texts: texts, "run": lambda _: {"y": VALUES}}
    exec(code.source, scope)  # noqa: S102  # code of this package
    return scope[function]


def test_classes_come_with_their_probabilities(tmp_path):
    answers = names(CLASSIFY_TEXT, "classify", tmp_path)("a text", top=2)
    assert [name for name, _ in answers] == ["b", "a"]
    assert answers[0][1] == pytest.approx(np.exp(2) / np.exp(VALUES).sum())


def test_tags_are_the_likely_classes(tmp_path):
    assert [name for name, _ in names(TAG_TEXT, "tag", tmp_path)("a text")] == ["b", "a"]


def test_values_have_names(tmp_path):
    assert names(PREDICT_TEXT, "predict", tmp_path)("one", "two") == [("a", 0.0), ("b", 2.0), ("c", -1.0)]
