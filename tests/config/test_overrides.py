import pytest

from compress.config.overrides import override
from compress.config.yaml_lines import parse

TEXT = """\
name: x
data: {source: digits}
teacher:
stages:
  - distill: {losses: [{response: {weight: 1}}, task]}
  - prune: {target: {macs: 0.5}}
  - prune: {}
  - export
  - profile:
"""


def changed(*changes):
    document = parse(TEXT, "r.yaml")
    override(document, changes)
    return document


def tree(*changes):
    document = changed(*changes)
    assert document.issues == []
    return document.tree


def message(change):
    (fault,) = changed(change).issues
    assert fault.line is None
    assert fault.message.startswith(f"--set {change}: ")
    return fault.message


def test_a_key_is_set():
    assert tree("data.image_size=32")["data"] == {"source": "digits", "image_size": 32}


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 1e-3), ("[a, b]", ["a", "b"]), ("{b: 1}", {"b": 1}), ("", None), ("a=b", "a=b")]
)
def test_the_value_is_yaml(text, value):
    assert tree(f"name={text}")["name"] == value


def test_an_entry_is_named_by_its_method():
    assert tree("stages.distill.losses.response.weight=2")["stages"][0]["distill"]["losses"][0] == {"response": {"weight": 2}}


def test_an_entry_is_named_by_its_number_with_or_without_its_method():
    assert tree("stages.1.target.macs=0.3")["stages"][1] == tree("stages.1.prune.target.macs=0.3")["stages"][1]
    assert tree("stages.1.target.macs=0.3")["stages"][1] == {"prune": {"target": {"macs": 0.3}}}


def test_a_bare_entry_takes_parameters():
    assert tree("stages.export.formats=[onnx]")["stages"][3] == {"export": {"formats": ["onnx"]}}
    assert tree("stages.3.formats=[onnx]")["stages"][3] == {"export": {"formats": ["onnx"]}}
    assert tree("stages.profile.devices=[host]")["stages"][4] == {"profile": {"devices": ["host"]}}
    assert tree("stages.distill.losses.task.weight=3")["stages"][0]["distill"]["losses"][1] == {"task": {"weight": 3}}


def test_a_whole_entry_is_replaced():
    assert tree("stages.3={quantize: {}}")["stages"][3] == {"quantize": {}}


def test_missing_blocks_are_made():
    assert tree("teacher.train.epochs=2")["teacher"] == {"train": {"epochs": 2}}


def test_changes_apply_in_order():
    assert tree("budget.size_mb=1", "budget.accuracy=0.9", "budget.size_mb=2")["budget"] == {"size_mb": 2, "accuracy": 0.9}


def test_what_was_set_has_no_line_and_its_neighbours_keep_theirs():
    document = changed("data.source=glyphs")
    assert document.issue(("data", "source"), "").line is None
    assert document.issue(("stages", 1, "prune"), "").line == 6


def test_a_wrong_entry_offers_the_nearest():
    assert "did you mean 'distill'" in message("stages.distil.epochs=1")


def test_an_ambiguous_entry_offers_its_number():
    text = message("stages.prune.epochs=1")
    assert "stages[1] and stages[2]" in text
    assert "stages.1" in text


@pytest.mark.parametrize("index", ["5", "-1"])
def test_a_number_outside_the_list_says_how_many_there_are(index):
    assert "stages has 5 entries" in message(f"stages.{index}.epochs=1")


def test_a_plain_value_has_nothing_inside():
    assert "data.source is 'digits'" in message("data.source.path=1")


@pytest.mark.parametrize("change", ["seed", "=3", "data..x=1", "seed 3"])
def test_a_change_without_key_or_value_says_how_it_is_written(change):
    assert "key=value" in message(change)


def test_a_value_that_is_not_yaml_is_said():
    assert "not YAML" in message("seed=[1")


def test_every_wrong_change_is_told():
    assert len(changed("seed", "stages.distil.x=1", "name=y").issues) == 2


@pytest.mark.parametrize("change", ["stages.².epochs=2", "stages.--5.x=1", "stages." + "9" * 5000 + "=1", "stages.-1.x=1"])
def test_an_index_that_is_none_is_a_short_issue(change):
    (issue,) = changed(change).issues
    assert len(issue.message) < 400
