"""`python_docs`: sentences of the documentation that Python ships, and the area of its library that each is about.

The sentences are those of the docstrings of Python's own modules, read with `ast` and not imported, and of the language
reference in `pydoc_data.topics`. A class is an area, such as `network` or `files`, with the modules of `AREAS`. The names of
these modules are removed from all sentences, so that no class is spelled out. Each sentence occurs once, and areas have
equal numbers of sentences. With columns of prompts and responses, samples are those of `python_definitions` or
`python_sentences`. What there is to read depends on the version of Python, which is part of the fingerprint.
"""

from __future__ import annotations

import ast
import importlib
import re
import sysconfig
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.seed_of import seed_of
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.text import python_definitions, python_sentences
from compress.data.sources.text.python_definitions import definitions_table
from compress.data.sources.text.python_library import AREAS, MARKUP, SENTENCE_END, TOPICS, source_files
from compress.data.sources.text.python_sentences import sentences_table
from compress.data.text.build import build_text_data
from compress.data.text.settings import Columns
from compress.data.text.table import TextTable

DEFINITIONS = python_definitions.PROMPT, python_definitions.RESPONSE
SENTENCES = python_sentences.PROMPT, python_sentences.RESPONSE
"""Columns of prompts and responses."""
WORDS = (5, 60)
"""Fewest and most words of a sentence."""
_LISTS = (">>>", "...", "-", "*", "|", "+", "=", ":")
_NAMES = re.compile(r"\b(?:" + "|".join(sorted({name for text in AREAS.values() for name in text.split()})) + r")\b[.]?")


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Read the sentences and split them, the classes in equal parts.

    Raises:
        DataError: This Python ships no documentation.
        MissingPackageError: tokenizers is not installed.
    """
    if settings.columns.has_responses:
        return build_text_data({"all": _prompts_table(settings.columns, sysconfig.get_paths()["stdlib"])}, settings, origin)
    areas = read_areas(sysconfig.get_paths()["stdlib"])
    count = min(map(len, areas.values()))
    if count < 10:
        msg = gettext(
            "this Python ships no source files with docstrings, which python_docs is made of; use another data source"
        )
        raise DataError(msg)
    texts: list[str] = []
    for area, sentences in areas.items():
        order = np.random.default_rng(seed_of("python_docs", area)).permutation(len(sentences))[:count]
        texts += [sentences[index] for index in sorted(order.tolist())]
    targets = [area for area in areas for _ in range(count)]
    return build_text_data({"all": TextTable(texts, targets=targets)}, settings, origin)


def _prompts_table(columns: Columns, folder: str) -> TextTable:
    """Prompts and responses of the columns that are named.

    Raises:
        DataError: There are no such columns.
    """
    tables: dict[tuple[str | None, str | None], Callable[[], TextTable]] = {
        DEFINITIONS: lambda: definitions_table(Path(folder)),
        SENTENCES: lambda: sentences_table(sentence for area in read_areas(folder).values() for sentence in area),
    }
    if (columns.prompt, columns.response) not in tables:
        msg = gettext(
            "python_docs has the columns {first}, or {second}; write one of them as `columns`",
            first="{{prompt: {}, response: {}}}".format(*DEFINITIONS),
            second="{{prompt: {}, response: {}}}".format(*SENTENCES),
        )
        raise DataError(msg)
    return tables[columns.prompt, columns.response]()


@cache
def read_areas(folder: str) -> dict[str, tuple[str, ...]]:
    """The sentences of each area, none of which is in two of them.

    Args:
        folder: Folder of Python's library.
    """
    found: dict[str, str | None] = {}
    for area, modules in AREAS.items():
        for module in modules.split():
            for docstring in docstrings(module, Path(folder)):
                for sentence in sentences_of(docstring):
                    found[sentence] = area if found.get(sentence, area) == area else None
    return {area: tuple(sentence for sentence, own in found.items() if own == area) for area in AREAS}


def docstrings(module: str, folder: Path) -> Iterator[str]:
    """Docstrings of a module or package without its tests, from its source files.

    Args:
        module: Name.
        folder: Folder of Python's library.
    """
    if module == TOPICS:
        yield from importlib.import_module(module).topics.values()
        return
    for file in source_files(module, folder):
        yield from _docstrings_in(ast.parse(file.read_text(encoding="utf-8")))


def _docstrings_in(node: ast.AST) -> Iterator[str]:
    """Docstrings of a module or definition and of those in its statements; expressions have none."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield ast.get_docstring(node) or ""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.excepthandler):
            yield from _docstrings_in(child)


def sentences_of(docstring: str) -> Iterator[str]:
    """Whole sentences of plain paragraphs, without names of modules; lists, tables and code are left out."""
    for paragraph in re.split(r"\n\s*\n", docstring):
        if any(line.lstrip().startswith(_LISTS) for line in paragraph.splitlines()):
            continue
        for raw in SENTENCE_END.split(MARKUP.sub("", " ".join(paragraph.split()))):
            sentence = " ".join(_NAMES.sub(" ", raw).split())
            if WORDS[0] <= len(sentence.split()) <= WORDS[1] and _is_plain(sentence):
                yield sentence


def _is_plain(sentence: str) -> bool:
    letters = sum(character.isalpha() or character == " " for character in sentence)
    return sentence[0].isupper() and sentence[-1] in ".!?" and letters >= 0.85 * len(sentence)
