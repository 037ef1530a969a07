"""Facts: notes, warnings and skipped items of a run, as data. `compress.core.sentences` makes English sentences of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field

from compress.core.frozen_model import FrozenModel
from compress.core.text import Text

Scalar = Text | int | float | bool | None
Value = Scalar | tuple[Scalar, ...]
TEXT = "text"
"""Code of a sentence of an older record."""
SKIPPED = "skipped"
"""Code of a skipped item of an older record, which has its reason as a sentence."""


class Fact(FrozenModel):
    """A skipped item with its reason, a note, or a warning.

    `compress.core.sentences.render` makes an English sentence of it.

    Attributes:
        code: Kind of the fact, such as `prune.target_not_reached`; it begins with the name of the package.
        subject: Subject of the fact: a layer, device, runtime, file or stage.
        values: Numbers and names for the sentence.
    """

    code: str
    subject: Text = ""
    values: Mapping[str, Value] = Field(default_factory=dict)

    def __hash__(self) -> int:
        """Hash without the values, which are a dictionary."""
        return hash((self.code, self.subject))

    @staticmethod
    def of(code: str, subject: str = "", /, **values: Value) -> Fact:
        """A fact with its values as keyword arguments."""
        return Fact(code=code, subject=subject, values=values)


def _read_fact(value: object) -> object:
    """A fact from the forms of older records: a sentence, or a skipped item with its reason."""
    match value:
        case str():
            return Fact.of(TEXT, text=value)
        case {"what": str(what), "reason": str(reason)}:
            return Fact.of(SKIPPED, what, reason=reason)
        case _:
            return value


Facts = tuple[Annotated[Fact, BeforeValidator(_read_fact)], ...]
"""Facts of a record, also of older records."""
