"""A file of answers as writer. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.core.atomic_files import sha256
from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.printable import shorten
from compress.core.user_path import user_path
from compress.distill.prompts.writers.base import TextWriter, WritingJob
from compress.distill.prompts.written_text import RawText

if TYPE_CHECKING:
    from collections.abc import Iterator

SHOWN = 80
"""Characters of a prompt in a message."""


class FileWriter(TextWriter):
    """`file`: answers in a file, one JSON object in each line.

    Attributes:
        path: The file, relative to the recipe.
        prompt: Name of the entry with the prompt, without system message and examples.
        response: Name of the entry with the answer, a text or a list of texts.
        missing: What becomes of prompts without an answer: `refuse`, or `skip` them.
    """

    samples_differ: ClassVar[bool] = True
    path: str
    prompt: str = "prompt"
    response: str = "response"
    missing: str = Field(default="refuse", pattern="^(refuse|skip)$")

    def write(self, prompts: Sequence[str], job: WritingJob) -> list[list[RawText]]:
        """The answers of the file.

        Raises:
            DataError: The file cannot be read, a line is no such object, or a prompt has no answer.
        """
        path = user_path(self.path, job.context.base)
        known: dict[str, list[str]] = {}
        for prompt, answers in self._rows(path):
            known.setdefault(prompt.strip(), []).extend(answers)
        absent = [prompt for prompt in prompts if prompt.strip() not in known]
        if absent and self.missing == "refuse":
            msg = gettext(
                "{path} has no answer to {count} of {total} prompts, such as {prompt!r}; add them, or leave such prompts out: "
                "`missing: skip`",
                path=path,
                count=len(absent),
                total=len(prompts),
                prompt=shorten(absent[0], SHOWN),
            )
            raise DataError(msg)
        count = job.settings.samples
        return [[RawText(text, ended=True) for text in known.get(prompt.strip(), [])[:count]] for prompt in prompts]

    def file_hashes(self, base: Path) -> dict[str, object]:
        """Hash of the file; a missing one is reported when the stage runs."""
        path = user_path(self.path, base)
        return {"answers": sha256(path)} if path.is_file() else {}

    def provenance(self, job: WritingJob) -> Mapping[str, str]:
        """Name and hash of the file."""
        return {"writer": "file", "path": self.path, "sha256": sha256(user_path(self.path, job.context.base))}

    def _rows(self, path: Path) -> Iterator[tuple[str, list[str]]]:
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            msg = gettext("cannot read the answers {path} ({reason}); give a file with a JSON object in each line", path=path,
                          reason=error)  # fmt: skip
            raise DataError(msg) from error
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            yield self._row(line, f"{path} line {number}")

    def _row(self, line: str, where: str) -> tuple[str, list[str]]:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise self._fault(where) from error
        prompt, found = (row.get(name) for name in (self.prompt, self.response)) if isinstance(row, dict) else (None, None)
        answers = [found] if isinstance(found, str) else found
        if not isinstance(prompt, str) or not isinstance(answers, list) or not all(isinstance(each, str) for each in answers):
            raise self._fault(where)
        return prompt, answers

    def _fault(self, where: str) -> DataError:
        return DataError(
            gettext(
                "{where} is no JSON object with the texts {prompt!r} and {response!r}; name the entries as `prompt` and "
                "`response` of the writer",
                where=where,
                prompt=self.prompt,
                response=self.response,
            )
        )
