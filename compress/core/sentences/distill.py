"""Sentences of distillation."""

from __future__ import annotations

from compress.core.sentences.table import Sentences

SENTENCES: Sentences = {}
