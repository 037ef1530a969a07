"""The interface of passes over a float network before its weights are rounded: family `ptq_pass` of the registry.

A pass is a function of the network and `PassInputs`. It keeps the function of the network in float and makes it easier to
quantize. The name of its row is its key under `ptq:` in a recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from compress.core.fact import Fact
from compress.core.progress import NullReporter, Reporter


@dataclass(frozen=True, eq=False)
class PassInputs:
    """What a pass may use beside the network.

    Attributes:
        batches: Calibration inputs, float32 (N, C, H, W) each.
        setting: Value of the pass's key in the recipe: True, or a number.
        exclude: Names of nodes that stay in float.
        reporter: Shows bars.
    """

    batches: Sequence[np.ndarray]
    setting: Any = True
    exclude: Sequence[str] = ()
    reporter: Reporter = field(default_factory=NullReporter)


@dataclass(frozen=True, eq=False)
class PassResult:
    """Result of a pass.

    Attributes:
        model: A new network; the given one is left as it was.
        skipped: What was left alone.
        notes: What was done.
    """

    model: ir.Model
    skipped: tuple[Fact, ...] = ()
    notes: tuple[Fact, ...] = ()


PTQPass = Callable[[ir.Model, PassInputs], PassResult]
