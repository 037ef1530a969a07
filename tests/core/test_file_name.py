"""Names that are safe in a path."""

from compress.core.file_name import safe_file_name


def test_file_names_are_safe() -> None:
    assert safe_file_name("../a b") == "_a_b"
    assert safe_file_name("") == "stage"
    assert len(safe_file_name("x" * 300)) == 80
