"""Sentences of speculative decoding."""

from __future__ import annotations

from compress.core.sentences.table import Sentences

SENTENCES: Sentences = {
    "speculative.kept_off": "the draft is not shipped: {reason}",
    "speculative.served": (
        "{requests} requests were served while the draft learned from {refused} refused positions; {rate:.1%} of its proposals "
        "were taken over all of them"
    ),
    "speculative.shipped": (
        "the artifact has draft.onnx, which proposes {k} tokens for each run of model.onnx; infer.py and compress generate use "
        "both, and the text is that of model.onnx alone"
    ),
}
