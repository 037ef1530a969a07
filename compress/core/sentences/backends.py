"""Sentences of back ends."""

from __future__ import annotations

from compress.core.sentences.table import Sentences

SENTENCES: Sentences = {
    "backends.exported_by_tracing": "exported by tracing, because torch.export could not keep the batch dynamic: {reason}",
    "backends.batch_fixed": "the batch is fixed to 1, because no exporter could keep it dynamic: {reason}",
}
