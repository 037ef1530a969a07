"""Sentences of merging."""

from __future__ import annotations

from compress.core.sentences.table import Sentences

SENTENCES: Sentences = {
    "merge.experts": (
        "{count} experts of {layers} layers were merged into one feed-forward network for each layer; the shares of the router "
        "are those on {samples} training samples"
    ),
    "merge.worse_than_best": (
        "the merged network is worse on validation than {subject}: its {metric} is {merged:.4g} against {best:.4g}"
    ),
}
