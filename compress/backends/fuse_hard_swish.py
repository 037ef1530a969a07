"""Replace the operators that some exporters write for HardSwish and HardSigmoid by these, which runtimes have kernels for.

    HardSigmoid(x) = max(0, min(1, x / 6 + 1/2)) = clip(x + 3, 0, 6) / 6,      HardSwish(x) = x · HardSigmoid(x)

A division and a clip between two convolutions would be computed in float, with conversions before and after.
"""

from __future__ import annotations

import onnx_ir as ir
from onnxscript.rewriter.rules.common import fuse_hardswish_rules

OPSET = 14
"""First operator set with HardSwish."""


def fuse_hard_swish(model: ir.Model) -> None:
    """Replace each such pattern, in place; a network of an older operator set stays as it is."""
    if (model.opset_imports.get("") or 0) >= OPSET and any(node.op_type in ("Clip", "HardSigmoid") for node in model.graph):
        fuse_hardswish_rules().apply_to_model(model)
