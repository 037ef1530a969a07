from __future__ import annotations

from compress.core.language import in_language
from compress.export.licences import artifact_notes, as_text


def test_user_data_and_text_make_a_table() -> None:
    text = as_text(artifact_notes("onnxruntime", "python:a|b.py:load", ()))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(row.count("|") == 4 for row in rows)
    assert any("a/b.py" in row for row in rows)


def test_a_generated_file_is_english() -> None:
    english = as_text(artifact_notes("onnxruntime", "digits", ()))
    with in_language("zh"):
        assert as_text(artifact_notes("onnxruntime", "digits", ())) == english
