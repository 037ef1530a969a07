import pytest
import yaml

from compress.core.run_record import RunRecord
from compress.pipeline.card.metadata import metadata, task_name, to_yaml
from compress.pipeline.report.tables import final_metrics


@pytest.mark.parametrize(
    "value",
    [
        "no", "on", "null", "1_000", "1:30", "0x1f", "~", "", " a", "a: b", "# a", "- a", "é 🙂", 'a "b" \\', "a\nb\tc",
        1.5, 1e-7, 3, True, None,
    ],
)  # fmt: skip
def test_a_value_is_read_back_as_it_was(value: object) -> None:
    entries = {"a": value, "b": [{"c": value, "d": {"e": [value]}}, value], "f": {"no": value}}
    assert yaml.safe_load(to_yaml(entries)) == entries


def test_characters_that_yaml_refuses_are_replaced() -> None:
    assert yaml.safe_load(to_yaml({"a": "x\x1b\ud800\ufffe\x85"})) == {"a": "x␛���"}


def test_the_entries_are_those_of_the_record(example: RunRecord) -> None:
    entries = metadata(example)
    assert entries["license"] == "unknown"
    assert entries["library_name"] == "onnx"
    assert entries["pipeline_tag"] == "image-classification"
    assert entries["tags"] == ["compress", "onnx", "distillation", "pruning", "quantization"]
    assert "base_model" not in entries
    (result,) = entries["model-index"][0]["results"]  # type: ignore[index]
    final = final_metrics(example)
    assert {each["type"]: each["value"] for each in result["metrics"]} == {
        name: final[name].value for name in entries["metrics"]
    }  # type: ignore[attr-defined]
    assert result["dataset"] == {"name": "digits", "type": "digits", "split": "test"}


def test_what_is_given_is_taken(example: RunRecord) -> None:
    entries = metadata(example, license_id="mit", base_model="me/net")
    assert (entries["license"], entries["base_model"]) == ("mit", "me/net")


def test_a_smoke_run_has_no_results(example: RunRecord) -> None:
    entries = metadata(example.model_copy(update={"smoke": True}))
    assert not {"model-index", "metrics"} & entries.keys()


def test_a_task_without_a_name_on_the_hub_keeps_its_own(example: RunRecord) -> None:
    recipe = {**example.recipe, "task": {"regression": {"period": 360}}}
    entries = metadata(example.model_copy(update={"recipe": recipe}))
    assert "pipeline_tag" not in entries
    assert entries["model-index"][0]["results"][0]["task"] == {"type": "regression", "name": "regression"}  # type: ignore[index]
    assert task_name(example.model_copy(update={"recipe": {}})) == "classification"
