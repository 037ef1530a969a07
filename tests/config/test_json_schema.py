import json

import jsonschema
import pytest
from pydantic import BaseModel

from compress.config.json_schema import attributes, summary
from compress.config.recipe import schema, shipped
from compress.config.yaml_lines import parse
from compress.core.registry import ENTRIES, lookup


class Base(BaseModel):
    """A base.

    Attributes:
        first: The first,
            over two lines.
        second: To be replaced.
    """

    first: int
    second: int


class Child(Base):
    """A child,
    told in two lines.

    More of it.

    Attributes:
        second: The second: with a colon.

    Raises:
        other: Not an attribute.
    """


@pytest.fixture(scope="module")
def validator():
    found = schema()
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


def objects(node):
    if isinstance(node, dict):
        if isinstance(node.get("properties"), dict):
            yield node
        for inside in node.values():
            yield from objects(inside)


def test_attributes_are_read_from_a_class_and_its_bases():
    assert attributes(Child) == {"first": "The first, over two lines.", "second": "The second: with a colon."}


def test_the_summary_is_the_first_paragraph():
    assert summary(Child) == "A child, told in two lines."
    assert summary(type("Bare", (), {})) == ""


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_shipped_recipes_fit_the_schema(validator, path):
    text = path.read_text(encoding="utf-8")
    assert [error.message for error in validator.iter_errors(parse(text, "test").tree)] == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda it: it.update(sede=1),
        lambda it: it.pop("model"),
        lambda it: it["data"].update(image_size=3),
        lambda it: it["data"].update(imagesize=32),
        lambda it: it["stages"].append({"distil": {}}),
        lambda it: it["stages"].append("distil"),
        lambda it: it["stages"].append({"export": {}, "train": {}}),
        lambda it: it["stages"].append({"prune": {"target": {"macs": 0.5}, "importanze": "taylor"}}),
        lambda it: it["stages"].append({"distill": {"losses": [{"respons": {}}]}}),
        lambda it: it["budget"].update(size_mb=-1),
        lambda it: it.update(stages=[]),
    ],
)
def test_what_is_wrong_does_not_fit_the_schema(validator, spoil):
    broken = validator.schema["examples"][0]
    broken = json.loads(json.dumps(broken))
    assert validator.is_valid(broken)
    spoil(broken)
    assert not validator.is_valid(broken)


def test_the_schema_accepts_a_bare_stage_and_one_without_parameters(validator):
    good = json.loads(json.dumps(validator.schema["examples"][0]))
    good["stages"] = ["export", {"export": None}]
    assert validator.is_valid(good)


def test_every_key_of_the_schema_is_described(validator):
    tables = {"AnyStage", "AnyTask", "AnyLoss", "AnyTeacher", "AnySynthesis"}
    bare = [
        f"{node.get('title')}.{name}"
        for node in objects(validator.schema)
        if node.get("title") not in tables
        for name, inside in node["properties"].items()
        if not inside.get("description")
    ]
    assert bare == []


def test_every_stage_and_loss_says_what_each_field_means():
    for row in ENTRIES:
        if row.family in ("stage", "loss", "teacher", "synthesis"):
            kind = lookup(row.family, row.name).load()
            assert set(kind.model_fields) - set(attributes(kind)) == set(), row.name
