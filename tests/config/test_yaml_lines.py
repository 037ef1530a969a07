import math

import pytest

from compress.config.yaml_lines import Document, parse, read_text
from compress.config.yaml_nodes import LIMIT_BYTES, UnreadableError
from compress.core.errors import RecipeError


def only_fault(text):
    with pytest.raises(RecipeError) as caught:
        parse(text, "r.yaml")
    (fault,) = caught.value.issues
    return fault


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("3.", 3.0),
        ("-.5E+2", -50.0),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("1:30", "1:30"),
        ("no", "no"),
        ("on", "on"),
        ("True", True),
        ("~", None),
        ("2020-01-01", "2020-01-01"),
        ("'5'", "5"),
        ("-.inf", -math.inf),
    ],
)
def test_scalars_follow_yaml_1_2(text, value):
    found = parse(f"x: {text}", "r.yaml").tree["x"]
    assert found == value
    assert type(found) is type(value)


def test_every_key_and_entry_has_its_line():
    document = parse("a: 1\nb:\n  - c: 2\n    d: 3\n  - e\n", "r.yaml")
    assert document.lines == {("a",): 1, ("b",): 2, ("b", 0): 3, ("b", 0, "c"): 3, ("b", 0, "d"): 4, ("b", 1): 5}


def test_a_fault_without_a_line_of_its_own_takes_that_of_what_holds_it():
    document = parse("a: 1\nb:\n  c: {}\n", "r.yaml")
    fault = document.issue(("b", "c", "missing"), "gone")
    assert (fault.line, fault.path) == (3, "b.c.missing")


def test_a_key_given_twice_names_both_lines():
    (fault,) = parse("a: 1\nb: 2\na: 3\n", "r.yaml").issues
    assert (fault.line, fault.path) == (3, "a")
    assert "line 1" in fault.message


@pytest.mark.parametrize(("key", "given"), [("1.5", "1.5"), ("true", "true"), ("[a, b]", "a list or block"), ("~", "nothing")])
def test_a_key_that_is_no_word_is_a_fault(key, given):
    (fault,) = parse(f"a: 1\nb:\n  {key}: 2\n", "r.yaml").issues
    assert (fault.line, fault.path) == (3, "b")
    assert f"got {given}" in fault.message


@pytest.mark.parametrize("value", ["!!python/object/apply:os.system ['true']", "!mine {a: 1}", "!!set {a, b}", "!!binary aGk="])
def test_tags_are_faults_and_run_nothing(value):
    faults = parse(f"a: 1\nb: {value}\n", "r.yaml").issues
    assert faults
    assert {(fault.line, fault.path) for fault in faults} == {(2, "b")}
    assert "tag" in faults[0].message


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_text_says_what_a_recipe_needs(text):
    if text == "---\n":
        assert "a mapping" in only_fault(text).message
    else:
        assert "empty" in only_fault(text).message


@pytest.mark.parametrize(("text", "given"), [("# x\n- a\n- b\n", "a list of 2"), ("\nhello\n", "'hello'")])
def test_something_else_than_a_mapping_says_what_it_is(text, given):
    fault = only_fault(text)
    assert fault.line == 2
    assert given in fault.message


def test_aliases_are_read():
    assert parse("a: &x {b: 1}\nc: *x\n", "r.yaml").tree == {"a": {"b": 1}, "c": {"b": 1}}


def test_aliased_values_do_not_share_memory():
    tree = parse("a: &x {b: 1}\nc: *x\n", "r.yaml").tree
    tree["a"]["b"] = 2
    assert tree["c"] == {"b": 1}


def test_an_alias_bomb_is_refused():
    levels = "\n".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 10)}]" for i in range(1, 10))
    assert "expands to more than" in only_fault(f"x0: &x0 [1]\n{levels}\n").message


def test_an_alias_to_itself_is_refused():
    fault = only_fault("a: 1\nb: &x [*x]\n")
    assert (fault.line, fault.path) == (2, "b[0]")


def test_a_merge_key_is_an_ordinary_key():
    assert "<<" in parse("a: &x {b: 1}\nc: {<<: *x}\n", "r.yaml").tree["c"]


def test_deep_nesting_through_aliases_is_refused():
    levels = "\n".join(f"x{i}: &x{i} {'[' * 20}*x{i - 1}{']' * 20}" for i in range(1, 40))
    fault = only_fault(f"x0: &x0 [1]\n{levels}\n")
    assert "levels deep" in fault.message


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ('"\\0"', "#x0000"),
        ('"a\\ud800"', "#xd800"),
        ("0x" + "f" * 5000, "more digits"),
        ("9" * 5000, "cannot read"),
        (str(2**64), "more digits"),
        ("!!int x", "cannot read"),
        ("!!bool maybe", "cannot read"),
        ("!!float ''", "cannot read"),
    ],
)
def test_a_value_that_nothing_can_hold_is_an_issue_with_its_line(value, reason):
    (fault,) = parse(f"a: 1\nb: {value}\n", "r.yaml").issues
    assert (fault.line, fault.path) == (2, "b")
    assert reason in fault.message
    assert len(fault.message) < 120


def test_a_fault_set_on_the_command_line_has_no_line():
    fault = Document(lines={("a",): None}).issue(("a", "b"), "wrong")
    assert fault.line is None
    assert "--set" in fault.message


def test_of_a_large_file_only_a_part_is_read(tmp_path):
    path = tmp_path / "r.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a file with a hole, larger than memory
    text = read_text(path)
    assert len(text) == LIMIT_BYTES + 1
    assert "at most" in only_fault(text).message


def test_bytes_that_are_no_text_are_named(tmp_path):
    (tmp_path / "r.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(UnreadableError, match="byte 3 is 0xff"):
        read_text(tmp_path / "r.yaml")


def test_an_integer_is_a_key_as_text():
    assert parse("latency_ms: {host: {64: 5, 512: 40}}", "r.yaml").tree == {"latency_ms": {"host": {"64": 5, "512": 40}}}
