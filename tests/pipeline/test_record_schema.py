import json
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from compress.core.errors import StoreError
from compress.core.run_record import FORMAT_VERSION, RunRecord
from compress.pipeline.read_record import read_record
from compress.pipeline.record_schema import record_schema
from tests.pipeline.report.conftest import make_record

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "reports").rglob("record.json"))


@pytest.fixture(scope="module")
def validator():
    schema = record_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def faults(validator, record):
    return [(list(error.absolute_path), error.message) for error in validator.iter_errors(record)]


def objects(node):
    if isinstance(node, dict):
        if isinstance(node.get("properties"), dict):
            yield node
        for inside in node.values():
            yield from objects(inside)


def test_there_are_examples():
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_a_shipped_record_fits_the_schema(validator, path):
    assert faults(validator, json.loads(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("load", [make_record, lambda: RunRecord.load(ROOT / "tests" / "core" / "older_record.json")])
def test_what_is_saved_fits_the_schema(validator, load):
    assert faults(validator, json.loads(load().model_dump_json())) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.pop("spec"),
        lambda it: it.update(verdikt=None),
        lambda it: it.update(wall_time_s="long"),
        lambda it: it.update(format_version=FORMAT_VERSION + 1),
        lambda it: it["environment"].update(torch=2),
        lambda it: it["stages"][0].update(form="tflite"),
        lambda it: it["stages"][0]["after"]["accuracy"].update(how="guessed"),
        lambda it: it["stages"][0]["after"]["accuracy"].pop("unit"),
        lambda it: it["stages"][-1]["benchmark_rows"][0].update(arrival="often"),
    ],
)
def test_a_changed_record_does_not_fit(validator, change):
    record = json.loads((ROOT / "reports" / "example" / "record.json").read_text(encoding="utf-8"))
    change(record)
    assert faults(validator, record)


def test_every_field_is_described(validator):
    bare = [
        f"{node['title']}.{name}"
        for node in objects(validator.schema)
        for name, field in node["properties"].items()
        if not field.get("description")
    ]
    assert bare == []


def test_a_record_without_a_version_loads_and_one_of_a_newer_format_is_refused(tmp_path):
    path = tmp_path / "record.json"
    record = json.loads(make_record().model_dump_json())
    del record["format_version"]
    path.write_text(json.dumps(record))
    assert read_record(path).format_version == 0
    path.write_text(json.dumps({**record, "format_version": FORMAT_VERSION + 1, "novelty": 1}))
    with pytest.raises(StoreError, match=f"format {FORMAT_VERSION + 1} .* install a newer compress"):
        read_record(path)
    with pytest.raises(ValidationError):
        RunRecord.model_validate({**record, "format_version": -1})
