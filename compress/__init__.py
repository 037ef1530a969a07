"""Edge model compression: prune, distill, quantize, export, measure, report.

The public names are imported on first use, so that `import compress` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "Adapt": "compress.adapt.stage",
    "Budget": "compress.budget",
    "Candidate": "compress.stage",
    "CompressError": "compress.errors",
    "Context": "compress.stage",
    "Data": "compress.data.splits",
    "Distill": "compress.distill.stage",
    "DistillData": "compress.distill_data.stage",
    "Export": "compress.export.stage",
    "Outcome": "compress.stage",
    "Pipeline": "compress.pipeline",
    "Profile": "compress.profile.stage",
    "Prune": "compress.prune.stage",
    "Quantity": "compress.record",
    "Quantize": "compress.quantize.stage",
    "Recipe": "compress.recipe",
    "Run": "compress.pipeline",
    "RunRecord": "compress.record",
    "Stage": "compress.stage",
    "StageRecord": "compress.record",
    "Train": "compress.train.stage",
    "quantize_report": "compress.quantization",
}

__all__ = sorted([*_WHERE, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    msg = f"module 'compress' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return list(__all__)
