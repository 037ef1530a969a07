"""Pydantic's errors in words, on a model of every kind of field."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compress.config.pydantic_messages import findings, loose_numbers, types_at


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    share: float = Field(gt=0, le=1)
    kind: Literal["linear", "cubic"] = "linear"


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    count: int
    name: str = Field(default="a", pattern="^[a-z]+$")
    flag: bool = False
    inner: Inner | None = None
    several: Annotated[tuple[Inner, ...], Field(min_length=1)] | Inner | None = None
    by_device: dict[str, float] = Field(default_factory=dict)


def messages(**values: Any) -> dict[tuple[str | int, ...], str]:
    tree = {"count": 1, **values}
    try:
        Outer.model_validate(tree)
    except ValidationError as error:
        return dict(findings(error, Outer, tree))
    return {}


@pytest.mark.parametrize(
    ("values", "path", "message"),
    [
        ({"count": "x"}, ("count",), "expected a whole number, got 'x'"),
        ({"count": 1.5}, ("count",), "expected a whole number, got 1.5"),
        ({"count": None}, ("count",), "expected a whole number, got nothing"),
        ({"name": 5}, ("name",), "expected text, got 5; put it in quotes"),
        ({"name": "A"}, ("name",), "must match ^[a-z]+$, got 'A'"),
        ({"flag": "maybe"}, ("flag",), "expected true or false, got 'maybe'"),
        ({"inner": {"share": 0}}, ("inner", "share"), "must be above 0, got 0"),
        ({"inner": {"share": 2}}, ("inner", "share"), "must be at most 1, got 2"),
        ({"inner": {}}, ("inner", "share"), "this required key is missing"),
        ({"inner": {"share": 1, "shares": 1}}, ("inner", "shares"), "unknown key: did you mean 'share'? allowed: kind, share"),
        ({"inner": {"share": 1, "kind": "cubik"}}, ("inner", "kind"), "unknown value 'cubik': did you mean 'cubic'?"),
        ({"several": [{"share": 3}]}, ("several", 0, "share"), "must be at most 1, got 3"),
        ({"several": {"share": 3}}, ("several", "share"), "must be at most 1, got 3"),
        ({"several": 3}, ("several",), "got 3"),
        ({"by_device": {"host": "fast"}}, ("by_device", "host"), "expected a number, got 'fast'"),
    ],
)
def test_each_error_has_its_key_path_and_one_sentence(values, path, message):
    described = messages(**values)
    assert list(described) == [path]
    assert message in described[path]


def test_a_valid_tree_has_no_findings():
    assert messages(inner={"share": 1}, several=[{"share": 0.5}]) == {}


def test_true_is_no_number_where_only_numbers_belong():
    tree = {"count": True, "flag": True, "by_device": {"host": False}}
    assert [path for path, _ in loose_numbers(tree, Outer)] == [("count",), ("by_device", "host")]


def test_types_of_a_key_path_follow_unions_lists_and_dictionaries():
    assert [kind.annotation for kind in types_at(Outer, ("several", 0, "share"))] == [float]
    assert {kind.annotation for kind in types_at(Outer, ("by_device", "host"))} == {float}
    assert list(types_at(Outer, ("nothing",))) == []
