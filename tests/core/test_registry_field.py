"""Fields of a recipe that hold a method: by name, as `- name: {parameters}`, or of the user's own code."""

import sys
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import pytest
from pydantic import BaseModel, ValidationError
from typer.testing import CliRunner

from compress.cli import app
from compress.config.recipe import loads, schema
from compress.config.yaml_lines import parse
from compress.core.errors import RecipeError
from compress.core.registry import Entry, entries, names, temporary
from compress.core.registry_field import RegistryField, RegistryName, name_of
from compress.train.loss_term import LossTerm
from tests.config.small_recipe import SMALL


class Fields(BaseModel):
    """A field of each kind."""

    term: Annotated[LossTerm, RegistryField("loss", LossTerm)]
    estimator: Annotated[str, RegistryName("range", "auto")] = "auto"
    activation: Annotated[str, RegistryName("importance", option="magnitude")] = "l1"


@pytest.mark.parametrize("value", ["task", {"task": None}, {"task": {}}, {"task": {"weight": 1.0}}])
def test_a_method_is_written_by_name_or_with_parameters_and_written_back(value: object) -> None:
    fields = Fields.model_validate({"term": value})
    assert name_of("loss", fields.term) == "task"
    written = fields.model_dump(mode="json")
    assert [*written["term"]] == ["task"]
    assert Fields.model_validate(written) == fields


def test_a_ready_object_is_taken_as_it_is() -> None:
    term = Fields.model_validate({"term": {"task": {"weight": 0.25}}}).term
    assert Fields(term=term).term is term


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"tusk": {}}, "unknown loss 'tusk': did you mean 'task'"),
        ({"task": {}, "response": {}}, "with one name"),
        (3, "a loss is written `name: {parameters}`"),
        ({"task": {"wieght": 1.0}}, "wieght"),
    ],
)
def test_another_form_or_name_is_refused(value: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Fields.model_validate({"term": value})


def test_a_row_of_another_class_is_refused() -> None:
    with (
        temporary(Entry("loss", "stranger", "pathlib:Path", "this test")),
        pytest.raises(ValidationError, match="pathlib:Path is not a subclass of LossTerm"),
    ):
        Fields.model_validate({"term": "stranger"})


def test_names_are_those_of_the_registry_at_the_time_of_the_check() -> None:
    allowed = RegistryName("importance", option="magnitude").allowed
    assert set(allowed) == {row.name for row in entries("importance") if row.options.get("magnitude")}
    assert set(allowed) < set(names("importance"))
    row = Entry("range", "mine", "pathlib:Path", "this test")
    with temporary(row):
        assert Fields(term="task", estimator="mine").estimator == "mine"  # type: ignore[arg-type]
        jsonschema.validate({"term": "task", "estimator": "mine"}, Fields.model_json_schema())
    with pytest.raises(ValidationError, match="'auto'"):
        Fields.model_validate({"term": "task", "estimator": "mine"})


@pytest.mark.parametrize(
    ("value", "is_valid"),
    [
        ("task", True),
        ({"task": {"weight": 2.0}}, True),
        ("python:a.py:Flat", True),
        ("tusk", False),
        ({"task": {"no": 1}}, False),
    ],
)
def test_the_json_schema_allows_what_validation_allows(value: Any, is_valid: bool) -> None:
    validator = jsonschema.Draft202012Validator(Fields.model_json_schema())
    assert validator.is_valid({"term": value}) == is_valid


TEACHER = 'teacher: {source: "torchvision:resnet18"}\n'


def messages(text: str, **options: object) -> str:
    with pytest.raises(RecipeError) as caught:
        loads(text, **options)
    return " ".join(fault.message for fault in caught.value.issues)


OWN_LOSS = '''\
import torch
from compress.train.loss_term import LossTerm

class Flat(LossTerm):
    """The same loss for each sample."""

    height: float = 1.0

    def per_sample(self, inputs):
        return torch.full((len(inputs.student_logits),), self.height)
'''


@pytest.fixture
def own_recipe(tmp_path: Path) -> str:
    (tmp_path / "own.py").write_text(OWN_LOSS)
    block = '{distill: {epochs: 1, losses: [{"python:own.py:Flat": {height: 3.0}}, task]}}'
    return SMALL.replace("task:", f"{TEACHER}task:").replace("  - export\n", f"  - {block}\n")


def test_own_code_is_refused_without_trust(own_recipe: str, tmp_path: Path) -> None:
    before = {*sys.modules}
    assert "--trust-code" in messages(own_recipe, base=tmp_path)
    assert not [name for name in sys.modules if name.startswith("compress_user_own_") and name not in before]


def test_own_code_is_a_method_with_trust(own_recipe: str, tmp_path: Path) -> None:
    recipe = loads(own_recipe, base=tmp_path, trust_code=True)
    (stage,) = [stage for stage in recipe.stages if hasattr(stage, "losses")]
    assert type(stage.losses[0]).__name__ == "Flat"
    assert stage.losses[0].height == 3.0
    assert "python:own.py:Flat" in recipe.model_dump_json()
    jsonschema.validate(parse(own_recipe, "test").tree, schema())


def test_an_unknown_parameter_of_own_code_is_a_fault(own_recipe: str, tmp_path: Path) -> None:
    message = messages(own_recipe.replace("height: 3.0", "width: 3.0"), base=tmp_path, trust_code=True)
    assert message == "unknown key: allowed: height, warmup, weight"


def test_the_command_line_loads_own_code_with_trust(own_recipe: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(own_recipe)
    refused = CliRunner().invoke(app, ["validate", str(path)])
    accepted = CliRunner().invoke(app, ["validate", str(path), "--trust-code"])
    assert refused.exit_code != 0
    assert accepted.exit_code == 0, accepted.output


def test_own_code_that_a_process_has_loaded_is_no_part_of_the_schema(own_recipe: str, tmp_path: Path) -> None:
    loads(own_recipe, base=tmp_path, trust_code=True)
    assert "Flat" not in str(schema())
