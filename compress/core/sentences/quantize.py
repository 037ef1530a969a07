"""Sentences of quantization."""

from __future__ import annotations

from compress.core.sentences.table import Sentences

SENTENCES: Sentences = {
    "quantize.acceptance": "{verdict}",
}
