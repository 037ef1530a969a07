"""Edge model compression: prune, distill, quantize, export, measure, report.

The public names are imported on first use, so that `import compress` costs nothing.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

__version__ = "0.1.0"

# ONNX Runtime reports to its maker from 1.32 on unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_WHERE = {
    "Merge": "compress.merge.stage",
    "MergeExperts": "compress.merge.experts.stage",
    "Substitute": "compress.substitute.stage",
    "Budget": "compress.core.budget",
    "Candidate": "compress.core.stage",
    "CompressError": "compress.core.errors",
    "Context": "compress.core.stage",
    "Data": "compress.data.interface",
    "Distill": "compress.distill.stage",
    "DatasetDistillation": "compress.dataset_distillation.stage",
    "Export": "compress.export.stage",
    "Outcome": "compress.core.stage",
    "Pipeline": "compress.pipeline.pipeline",
    "Profile": "compress.profile.stage",
    "Prune": "compress.prune.stage",
    "Quantity": "compress.core.record",
    "Quantize": "compress.quantize.stage",
    "Recipe": "compress.config.recipe",
    "Run": "compress.pipeline.pipeline",
    "RunRecord": "compress.core.run_record",
    "Search": "compress.search.search",
    "SearchSettings": "compress.config.search_settings",
    "Speculative": "compress.distill.speculative.stage",
    "Stage": "compress.core.stage",
    "StageRecord": "compress.core.record",
    "Tracking": "compress.config.tracking",
    "Train": "compress.train.stage",
    "load": "compress.models.saved_network",
    "quantize_report": "compress.pipeline.quantize_report",
}

__all__ = sorted([*_WHERE, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    msg = f"module 'compress' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return list(__all__)
