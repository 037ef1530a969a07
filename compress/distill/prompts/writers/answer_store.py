"""Answers of a server on disk, so that none is asked for twice. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from threading import Lock

from compress.distill.prompts.writers.http_chat import ChatAnswer


class AnswerStore:
    """A file with a line for each answer, and one for each request without an answer.

    A line that is damaged, as the last one of a process that was killed, is left out.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._requests: Counter[str] = Counter()
        self._answers: dict[str, ChatAnswer] = {}
        self._lock = Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes() if path.exists() else b""
        for line in content.split(b"\n"):
            self._read(line)
        if content and not content.endswith(b"\n"):
            with path.open("ab") as file:
                file.write(b"\n")

    @staticmethod
    def name(body: Mapping[str, object]) -> str:
        """Name of a request, a hash of its body, which has no secret."""
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()

    def get(self, name: str) -> ChatAnswer | None:
        """The answer to a request; None where there is none."""
        return self._answers.get(name)

    def used(self, names: Collection[str]) -> tuple[int, int]:
        """Requests of these names so far, with those that failed, and tokens of their answers, as the server counts them."""
        answers = (self._answers[name] for name in names if name in self._answers)
        return sum(self._requests[name] for name in names), sum(answer.tokens or 0 for answer in answers)

    def add(self, name: str, answer: ChatAnswer | None) -> None:
        """Note a request, and its answer where it has one, on disk before this returns.

        Args:
            name: Of the request.
            answer: None for a request that failed.
        """
        row: dict[str, object] = {"request": name} if answer is None else {"request": name, **answer._asdict()}
        with self._lock:
            with self.path.open("ab") as file:
                file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            self._count(name, answer)

    def _read(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            name = row.pop("request")
            answer = ChatAnswer(**row) if row else None
        except (ValueError, TypeError, AttributeError, LookupError):
            return
        if isinstance(name, str) and (answer is None or isinstance(answer.text, str)):
            self._count(name, answer)

    def _count(self, name: str, answer: ChatAnswer | None) -> None:
        self._requests[name] += 1
        if answer is not None:
            self._answers[name] = answer
