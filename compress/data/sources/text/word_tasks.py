"""`word_tasks:TASKS`: exact tasks on words that are drawn, for networks that follow an instruction, and those that learned one.

    word_tasks:capitals          word: bakemi   instruction: Capitals.   answer: BAKEMI
    word_tasks:capitals,vowels   each word in one of these tasks, which is drawn; the vowels of the word are aei

Columns of prompts and responses:

    word       the word alone: nothing tells the task
    asked      the instruction, and in the next line the word, as a system message stands before a prompt without a template
    answer     the answer

The 8,000 words are the same for all tasks, 80 % of them for training, so that a teacher that learned several tasks has not seen
the words of the test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from compress.core.errors import DataError, nearest
from compress.core.language import gettext
from compress.core.seed_of import seed_of
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.text.build import build_text_data
from compress.data.text.table import TextTable

WORDS = 8000
SHARES = (0.8, 0.1, 0.1)
"""Of the words for training, validation and test."""
CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"
SYLLABLES = (2, 3)
"""Fewest and most syllables of a word, each of two letters."""
WORDINGS = ("{word}", "of {word}", "{word}!")
"""How a word is given to a teacher, which is drawn."""
TASKS: Mapping[str, tuple[str, Callable[[str], str]]] = {
    "capitals": ("Capitals.", lambda word: word.upper()),
    "vowels": ("Vowels.", lambda word: "".join(letter for letter in word if letter in VOWELS)),
    "reverse": ("Reverse.", lambda word: word[::-1]),
    "sort": ("Sort.", lambda word: "".join(sorted(word))),
}
"""Instruction and answer of each task."""
COLUMNS = ("word", "asked", "answer")


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Draw the words, and one of the tasks for each.

    Raises:
        DataError: No such task, or other columns are named.
        MissingPackageError: tokenizers is not installed.
    """
    chosen = tuple(name.strip() for name in origin.argument.split(","))
    for name in chosen:
        if name not in TASKS:
            raise DataError(gettext("word_tasks has no task {name!r}: {hint}", name=name, hint=nearest(name, TASKS)))
    columns = settings.columns
    for column in (columns.prompt, columns.response):
        if column not in COLUMNS:
            msg = gettext(
                "word_tasks has the columns {names}; write `columns: {{prompt: word, response: answer}}`",
                names=", ".join(COLUMNS),
            )
            raise DataError(msg)
    random = np.random.default_rng(seed_of("word_tasks", origin.argument))
    words, ends = read_words(), np.cumsum(np.round(np.array(SHARES) * WORDS).astype(int))
    parts = np.split(np.arange(WORDS), ends[:-1])
    tables = {
        name: _table([words[row] for row in rows], chosen, (str(columns.prompt), str(columns.response)), random)
        for name, rows in zip(("train", "val", "test"), parts, strict=True)
    }
    return build_text_data(tables, settings, origin)


def read_words() -> list[str]:
    """The words, none twice."""
    random = np.random.default_rng(seed_of("words", 0))
    found: dict[str, None] = {}
    while len(found) < WORDS:
        count = int(random.integers(SYLLABLES[0], SYLLABLES[1] + 1))
        letters = [part[int(random.integers(len(part)))] for _ in range(count) for part in (CONSONANTS, VOWELS)]
        found.setdefault("".join(letters))
    return list(found)


def _table(words: Sequence[str], tasks: Sequence[str], columns: tuple[str, str], random: np.random.Generator) -> TextTable:
    rows = []
    for word in words:
        instruction, answer = TASKS[tasks[int(random.integers(len(tasks)))]]
        wording = WORDINGS[int(random.integers(len(WORDINGS)))]
        asked = f"{instruction}\n{wording.format(word=word)}"
        cells = dict(zip(COLUMNS, (word, asked, answer(word)), strict=True))
        rows.append(tuple(cells[name] for name in columns))
    return TextTable([prompt for prompt, _ in rows], [response for _, response in rows], origin=list(words))
