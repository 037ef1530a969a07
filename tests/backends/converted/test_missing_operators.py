import pytest

from compress.backends.converted.missing_operators import missing_operators


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Summary:\n-- No conversion rule found for operations: Det-17, Celu-12", ("Det", "Celu")),
        ("ValueError: Didn't find op for builtin opcode 'STABLEHLO_SORT' version '1'.", ("STABLEHLO_SORT",)),
        ("NOT_IMPLEMENTED : Could not find an implementation for Det(11) node with name 'det'", ("Det",)),
        ("Fatal error: my.domain:Fancy(-1) is not a registered function/op", ("my.domain:Fancy",)),
        ("RuntimeError: Missing out variants: {'aten::det'}", ("aten::det",)),
        ("PyTorch convert function for op 'grid_sampler' not implemented.", ("grid_sampler",)),
        ("it took longer than 900 s", ()),
    ],
)
def test_operators_are_read_from_the_words_of_each_runtime(text: str, expected: tuple[str, ...]) -> None:
    assert missing_operators(text) == expected
