import pytest

from compress.core.errors import DataError
from compress.data.text.table import TextTable
from compress.data.text.targets import encode_targets


def tables(*targets):
    return [
        TextTable(["x"] * len(each), targets=list(each), origin=[f"line {row + 2}" for row in range(len(each))])
        for each in targets
    ]


def test_classes_are_those_of_the_training_texts_in_order():
    (train, validation, _), names = encode_targets(tables(["b", "a", None], ["a"], ["b"]), "classes", ["target"])
    assert names == ("a", "b")
    assert train.tolist() == [1, 0, -100]
    assert validation.tolist() == [0]
    assert encode_targets(tables(["10", "9"], ["9"], ["10"]), "classes", ["target"])[1] == ("9", "10")


def test_an_unknown_class_is_told_with_its_place_and_the_nearest():
    with pytest.raises(DataError, match=r"line 2: no training text has the class 'goood': did you mean 'good'"):
        encode_targets(tables(["good", "bad"], ["goood"], ["bad"]), "classes", ["target"])


def test_one_class_is_refused():
    with pytest.raises(DataError, match="of fewer than two classes"):
        encode_targets(tables(["a", "a"], ["a"], ["a"]), "classes", ["target"])


def test_sets_of_classes_come_from_one_column_or_from_several():
    (train, *_), names = encode_targets(tables([["b", "a"], [], None], [["a"]], [["b"]]), "labels", ["target"])
    assert names == ("a", "b")
    assert train.tolist() == [[1, 1], [0, 0], [-100, -100]]
    (train, *_), names = encode_targets(tables([["0", "1"]], [["1", "1"]], [["1", "0"]]), "labels", ["x", "y"])
    assert names == ("x", "y")
    assert train.tolist() == [[0, 1]]
    with pytest.raises(DataError, match="line 2: the classes x, y are 0 or 1"):
        encode_targets(tables([["0", "3"]], [["1", "1"]], [["1", "0"]]), "labels", ["x", "y"])


def test_values_are_numbers():
    (train, *_), names = encode_targets(tables(["1.5", "-2"], ["0"], ["3"]), "values", ["score"])
    assert names == ("score",)
    assert train.tolist() == [[1.5], [-2]]
    with pytest.raises(DataError, match="line 3: the target 'many' is no finite number"):
        encode_targets(tables(["1", "many"], ["0"], ["3"]), "values", ["score"])
    with pytest.raises(DataError, match="line 2"):
        encode_targets(tables(["1", "2"], [None], ["3"]), "values", ["score"])
