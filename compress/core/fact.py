"""Facts: what a run has to report, as data. `compress.core.sentences` turns them into English."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field

from compress.core.frozen_model import FrozenModel

Scalar = str | int | float | bool | None
Value = Scalar | tuple[Scalar, ...]
TEXT = "text"
"""Code of a sentence of an older record."""
SKIPPED = "skipped"
"""Code of what an older record skipped, with its reason as a sentence."""


class Fact(FrozenModel):
    """Something to report: what was skipped and why, a note, a warning.

    `compress.core.sentences.render` is the only place that makes an English sentence of it.

    Attributes:
        code: What happened, as `package.what_happened`, for example `prune.target_not_reached`.
        subject: What it happened to: a layer, a device, a runtime, a file, a stage.
        values: The numbers and names that the sentence needs.
    """

    code: str
    subject: str = ""
    values: Mapping[str, Value] = Field(default_factory=dict)

    def __hash__(self) -> int:
        """Equal facts have equal hashes; the values, a dictionary, take no part."""
        return hash((self.code, self.subject))

    @staticmethod
    def of(code: str, subject: str = "", /, **values: Value) -> Fact:
        """A fact with its values as keyword arguments."""
        return Fact(code=code, subject=subject, values=values)


def _read_fact(value: object) -> object:
    """A fact from what older records have in its place: a sentence, or what was skipped and the reason."""
    match value:
        case str():
            return Fact.of(TEXT, text=value)
        case {"what": str(what), "reason": str(reason)}:
            return Fact.of(SKIPPED, what, reason=reason)
        case _:
            return value


Facts = tuple[Annotated[Fact, BeforeValidator(_read_fact)], ...]
"""Facts of a record; reads those of older records too."""
