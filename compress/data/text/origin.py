"""The texts that a split was encoded from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from compress.data.settings import DataSettings
from compress.data.text.table import TextTable
from compress.data.text.tokenizer import TextTokenizer


class TextOrigin(NamedTuple):
    """Texts, tokenizer and settings of a split.

    Attributes:
        table: The texts with their targets.
        tokenizer: The tokenizer.
        settings: The `data:` block.
        classes: Names of the classes, tags or values.
    """

    table: TextTable
    tokenizer: TextTokenizer
    settings: DataSettings
    classes: Sequence[str] = ()
