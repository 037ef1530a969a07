"""Sentences of back ends."""

from __future__ import annotations

from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.sentences.table import Sentences


def _branch_frozen(fact: Fact) -> str:
    lines = fact.values["lines"]
    positions = ", ".join(map(str, lines)) if isinstance(lines, (list, tuple)) else str(lines)
    return gettext(
        "a branch, number or size in the network depends on the content of its input ({positions}): the exported file may "
        "contain that of the example input, and its outputs differ for other inputs",
        positions=positions,
    )


SENTENCES: Sentences = {
    "backends.exported_by_tracing": "exported by tracing, because torch.export could not keep the batch dynamic: {reason}",
    "backends.batch_fixed": "the batch is fixed to 1, because no exporter could keep it dynamic: {reason}",
    "backends.newer_opset": "exported with ONNX operator set {opset} instead of {default}, because {subject} needs it",
    "backends.no_program": "{subject}, which runs without this package, was not written, since torch.export failed: {reason}",
    "backends.branch_frozen": _branch_frozen,
}
