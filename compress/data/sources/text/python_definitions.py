"""Definitions of Python's library as prompts, and the first sentence of their documentation as responses.

    shutil.copyfile(src, dst)   ──►   Copy data from src to dst in the most efficient way possible.

The modules are those of `python_docs`, read with `ast` and not imported. Sentences of 3 to 24 words are taken, each once.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from compress.data.sources.text.python_library import AREAS, TOPICS, first_sentence, source_files
from compress.data.text.table import TextTable

PROMPT, RESPONSE = "definition", "summary"
"""Names of the columns."""
WORDS = (3, 24)
"""Fewest and most words of a response."""


def definitions_table(folder: Path) -> TextTable:
    """Prompts and responses.

    Args:
        folder: Folder of Python's library.
    """
    rows = read_definitions(folder)
    return TextTable([prompt for prompt, _ in rows], [response for _, response in rows], origin=[prompt for prompt, _ in rows])


@cache
def read_definitions(folder: Path) -> tuple[tuple[str, str], ...]:
    """Each definition with the first sentence of its documentation; equal sentences stand once.

    Args:
        folder: Folder of Python's library.
    """
    found: dict[str, str] = {}
    for modules in AREAS.values():
        for module in modules.split():
            if module == TOPICS:
                continue
            for file in source_files(module, folder):
                for name, docstring in _definitions(ast.parse(file.read_text(encoding="utf-8")), module):
                    sentence = first_sentence(docstring)
                    if WORDS[0] <= len(sentence.split()) <= WORDS[1] and sentence[0].isupper() and sentence.isascii():
                        found.setdefault(sentence, name)
    return tuple((name, sentence) for sentence, name in found.items())


def _definitions(node: ast.AST, prefix: str) -> Iterator[tuple[str, str]]:
    """Name with arguments, and docstring, of each class and function that has one."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{prefix}.{child.name}"
            arguments = "" if isinstance(child, ast.ClassDef) else f"({', '.join(each.arg for each in child.args.args)})"
            yield name + arguments, ast.get_docstring(child) or ""
            yield from _definitions(child, name if isinstance(child, ast.ClassDef) else prefix)
        elif isinstance(child, ast.stmt | ast.excepthandler):
            yield from _definitions(child, prefix)
