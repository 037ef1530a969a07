"""Sentences of facts, with one file per package, in the language in use.

`SENTENCES` of a file maps the code of a fact to a template. The sentence of a skipped item is the reason only; its subject is
shown beside it. `SUBJECTS` maps a code to a template where the subject needs more words (`bias correction of features.0`).
"""

from __future__ import annotations

from compress.core.fact import SKIPPED, TEXT, Fact
from compress.core.language import gettext
from compress.core.sentences import (
    backends,
    data,
    dataset_distillation,
    export,
    merge,
    models,
    pipeline,
    profile,
    profile_phone,
    prune,
    quantize,
    quantize_ptq,
    speculative,
    substitute,
    tasks,
    train,
)
from compress.core.sentences.table import Sentence, Sentences

ROOMS = (
    backends, data, dataset_distillation, export, merge, models, pipeline, profile, profile_phone, prune, quantize,
    quantize_ptq, speculative, substitute, tasks, train,
)  # fmt: skip
SENTENCES: Sentences = {TEXT: "{text}", SKIPPED: "{reason}"}
SUBJECTS: Sentences = {}
for _room in ROOMS:
    SENTENCES.update(_room.SENTENCES)
    SUBJECTS.update(getattr(_room, "SUBJECTS", {}))


def render(fact: Fact) -> str:
    """The sentence of a fact; for an unknown code, a text from its code and values."""
    sentence = SENTENCES.get(fact.code)
    return _generic(fact) if sentence is None else _filled(sentence, fact)


def render_subject(fact: Fact) -> str:
    """The subject of a fact, in words."""
    return _filled(SUBJECTS.get(fact.code, "{subject}"), fact)


def _filled(sentence: Sentence, fact: Fact) -> str:
    return gettext(sentence, subject=fact.subject, **fact.values) if isinstance(sentence, str) else sentence(fact)


def _generic(fact: Fact) -> str:
    """Example: `mine.layer_too_small` of conv1 with `size: 3` becomes `layer too small: conv1 (size 3)`."""
    words = fact.code.rpartition(".")[2].replace("_", " ")
    values = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in fact.values.items())
    return f"{words}{f': {fact.subject}' if fact.subject else ''}{f' ({values})' if values else ''}"
