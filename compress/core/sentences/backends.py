"""Sentences of back ends."""

from __future__ import annotations

from compress.core.fact import Fact
from compress.core.sentences.table import Sentences


def _branch_frozen(fact: Fact) -> str:
    lines = fact.values["lines"]
    places = ", ".join(map(str, lines)) if isinstance(lines, (list, tuple)) else str(lines)
    return (
        f"the network takes a branch, a number or a size from the content of its input ({places}): the exported file may hold "
        "that of the export, and compute something else for inputs that take another branch"
    )


SENTENCES: Sentences = {
    "backends.exported_by_tracing": "exported by tracing, because torch.export could not keep the batch dynamic: {reason}",
    "backends.batch_fixed": "the batch is fixed to 1, because no exporter could keep it dynamic: {reason}",
    "backends.newer_opset": "exported with ONNX operator set {opset} instead of {default}, because {subject} needs it",
    "backends.no_program": "there is no {subject}, which would run without this package, because of torch.export: {reason}",
    "backends.branch_frozen": _branch_frozen,
}
