import time

import pytest

from compress.config.yaml_nodes import DEVICE_PROFILE, LIMIT_BYTES, RECIPE, TAG, UnreadableError, compose


def only_fault(text):
    with pytest.raises(UnreadableError) as caught:
        compose(text, RECIPE)
    return caught.value.issue


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1e-3", "float"),
        ("no", "str"),
        ("1:30", "str"),
        ("2020-01-01", "str"),
        ("1_000", "str"),
        ("0o17", "int"),
        ("~", "null"),
    ],
)
def test_plain_scalars_have_the_kinds_of_the_core_schema(text, kind):
    node = compose(text, RECIPE)
    assert node is not None
    assert node.tag == TAG + kind


def test_the_message_names_the_kind_of_text():
    with pytest.raises(UnreadableError, match="a device profile has at most"):
        compose("x" * (LIMIT_BYTES + 1), DEVICE_PROFILE)


def test_an_empty_text_has_no_node():
    assert compose("# only a comment\n", RECIPE) is None


def test_text_that_is_not_yaml_says_line_and_column():
    fault = only_fault("a: 1\nb: [1, 2\nc: 3\n")
    assert fault.line == 3
    assert "not YAML, column 2" in fault.message


def test_a_tab_is_not_yaml():
    assert only_fault("a:\n\tb: 1\n").line == 2


def test_a_control_character_is_not_yaml():
    fault = only_fault("a: 1\nb: \x01\n")
    assert fault.line == 2
    assert "#x0001" in fault.message


def test_two_documents_are_not_one_recipe():
    assert only_fault("a: 1\n---\nb: 2\n").line == 2


def test_a_huge_text_is_refused():
    assert "at most" in only_fault("a: " + "x" * LIMIT_BYTES).message


def test_a_text_of_too_many_values_is_refused_before_it_is_read_to_its_end():
    text = "[" + "1," * (LIMIT_BYTES // 2 - 10) + "]"
    started = time.process_time()
    assert "expands to more than" in only_fault(text).message
    assert time.process_time() - started < 5  # reading all of it takes twenty


def test_an_escape_that_is_no_character_is_not_yaml():
    assert "not YAML" in only_fault('a: "\\U00110000"\n').message
    assert "not YAML" in only_fault('a: "\\Uffffffff"\n').message


def test_deep_nesting_is_refused():
    assert "nesting" in only_fault("[" * 5000).message
