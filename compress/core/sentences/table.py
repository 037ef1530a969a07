"""Type of a table of sentences."""

from __future__ import annotations

from collections.abc import Callable

from compress.core.fact import Fact

Sentence = str | Callable[[Fact], str]
"""A template for `str.format` with `subject` and the values of the fact by name; or a function of the fact."""
Sentences = dict[str, Sentence]
