"""A file of answers as writer."""

import json

import pytest

from compress.core.errors import DataError
from compress.distill.prompts.writers.file import FileWriter
from tests.distill.prompts.writers.test_endpoint import job_in


def write(folder, *rows):
    (folder / "answers.jsonl").write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return FileWriter(path="answers.jsonl", prompt="q", response="a")


def test_answers_are_found_by_their_prompt(tmp_path):
    writer = write(
        tmp_path, {"q": "one", "a": "1"}, {"q": "two ", "a": ["2", "zwei", "deux"]}, "", {"q": "one", "a": "eins\u2028"}
    )
    texts = writer.write(["two", "one", "one"], job_in(tmp_path, samples=2))
    assert [[each.text for each in own] for own in texts] == [["2", "zwei"], ["1", "eins\u2028"], ["1", "eins\u2028"]]
    assert writer.file_hashes(tmp_path)["answers"] == writer.provenance(job_in(tmp_path))["sha256"]


def test_a_prompt_without_an_answer_is_refused_or_skipped(tmp_path):
    writer = write(tmp_path, {"q": "one", "a": "1"})
    with pytest.raises(DataError, match="has no answer to 1 of 2 prompts, such as 'two'"):
        writer.write(["one", "two"], job_in(tmp_path))
    skipping = writer.model_copy(update={"missing": "skip"})
    assert [len(own) for own in skipping.write(["one", "two"], job_in(tmp_path))] == [1, 0]


@pytest.mark.parametrize("row", ["nonsense", "[1]", {"q": "one"}, {"q": 1, "a": "1"}, {"q": "one", "a": [1]}])
def test_a_line_that_is_no_answer_is_named(tmp_path, row):
    with pytest.raises(DataError, match=r"answers.jsonl line 2 is no JSON object with the texts 'q' and 'a'"):
        write(tmp_path, {"q": "one", "a": "1"}, row).write(["one"], job_in(tmp_path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot read the answers"):
        FileWriter(path="none.jsonl").write(["one"], job_in(tmp_path))
