import inspect

import pytest

from compress.core import errors
from compress.core.errors import CompressError, MissingPackageError, RecipeError, ValidationIssue, message_line, nearest


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (ValidationIssue("wrong"), "wrong"),
        (ValidationIssue("wrong", "data.source"), "data.source: wrong"),
        (ValidationIssue("wrong", "data.source", 4), "line 4: data.source: wrong"),
        (ValidationIssue("wrong", line=4), "line 4: wrong"),
    ],
)
def test_a_fault_says_where_it_is(fault: ValidationIssue, text: str) -> None:
    assert str(fault) == text


def test_a_recipe_error_lists_every_fault() -> None:
    error = RecipeError("r.yaml", [ValidationIssue("first", line=1), ValidationIssue("second", line=2)])
    assert str(error) == "r.yaml: 2 faults\n  line 1: first\n  line 2: second"
    assert str(RecipeError("r.yaml", [ValidationIssue("only")])).startswith("r.yaml: 1 fault\n")


def test_nearest_offers_a_similar_name_first() -> None:
    assert nearest("cubik", ["linear", "cubic"]) == "did you mean 'cubic'? allowed: cubic, linear"
    assert nearest("zzz", ["linear", "cubic"]) == "allowed: cubic, linear"
    assert nearest("a", []) == "allowed: nothing"


def test_nearest_shortens_long_lists() -> None:
    text = nearest("zzz", [f"name{index:03d}" for index in range(50)])
    assert text.count("name") == 20
    assert text.endswith("… (50 in all)")


def test_a_missing_package_error_holds_the_install_line() -> None:
    assert "pip install 'compress[openvino]'" in str(MissingPackageError("openvino", "openvino", "this runtime"))


def test_every_error_is_in_the_drawn_tree() -> None:
    classes = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, Exception)]
    assert all(issubclass(kind, CompressError) for kind in classes)
    assert all(kind.__name__ in (errors.__doc__ or "") for kind in classes)


@pytest.mark.parametrize(
    ("message", "line"), [("first\nsecond", "first"), ("\n first", "first"), ("", "ValueError"), (" \n", "ValueError")]
)
def test_a_message_in_one_line_is_never_empty(message: str, line: str) -> None:
    assert message_line(ValueError(message)) == line


def test_the_middle_of_a_very_long_message_is_left_out():
    text = str(errors.DataError("begin " + "x" * 1_000_000 + " end"))
    assert len(text) < 21_000
    assert text.startswith("begin x")
    assert text.endswith("x end")
