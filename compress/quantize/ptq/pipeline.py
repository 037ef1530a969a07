"""Post-training quantization of weights: the passes of the registry family `ptq_pass`, then rounding and bias correction.

float network ─► equalize ─► smooth ─► … ─► integer weights, corrected biases      (Q/DQ pairs are inserted later)

A pass is a function of a network and `PassInputs`. It returns an equivalent float network that is easier to quantize. The name
of its registry row is its key under `ptq:` in a recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import onnx_ir as ir

from compress.backends.runner_protocol import Feeds
from compress.core.fact import Fact
from compress.core.progress import NullReporter, Reporter
from compress.core.registry import lookup, names
from compress.quantize.ptq.round_weights import PreparedModel, RoundingOptions, round_weights
from compress.quantize.ptq.weighted_layers import with_own_biases

if TYPE_CHECKING:
    from compress.quantize.settings import PTQSettings


@dataclass(frozen=True, eq=False)
class PassInputs:
    """Inputs of a pass besides the network.

    Attributes:
        batches: Calibration batches by name of the input.
        setting: Value of the pass in the recipe: True, or a number.
        exclude: Names of nodes that stay in float.
        reporter: Shows progress bars.
    """

    batches: Sequence[Feeds]
    setting: float = True
    exclude: Sequence[str] = ()
    reporter: Reporter = field(default_factory=NullReporter)


@dataclass(frozen=True, eq=False)
class PassResult:
    """Result of a pass.

    Attributes:
        model: A new network; the input is not changed.
        skipped: Facts on what was skipped.
        notes: Facts on what was done.
    """

    model: ir.Model
    skipped: tuple[Fact, ...] = ()
    notes: tuple[Fact, ...] = ()


PTQPass = Callable[[ir.Model, PassInputs], PassResult]


@dataclass(frozen=True, eq=False)
class PTQResult:
    """Result of post-training quantization.

    Attributes:
        prepared: Network and its integer weights.
        rescaled: Float network after the passes, before rounding: the reference of each layer.
        skipped: Facts on what was skipped.
        notes: Facts on what was done.
    """

    prepared: PreparedModel
    rescaled: ir.Model
    skipped: tuple[Fact, ...]
    notes: tuple[Fact, ...]


def run_ptq(
    model: ir.Model,
    batches: Sequence[Feeds],
    settings: PTQSettings,
    *,
    bits: int,
    per_channel: bool,
    exclude: Sequence[str] = (),
    reporter: Reporter | None = None,
) -> PTQResult:
    """Run the passes, round the weights and correct the biases.

    Args:
        model: Float network; not changed.
        batches: Calibration batches by name of the input.
        settings: Passes and rounding.
        bits: Weights have 2^bits levels.
        per_channel: One scale per output channel.
        exclude: Names of nodes that stay in float.
        reporter: Shows progress bars.
    """
    reporter = reporter or NullReporter()
    skipped, notes = list[Fact](), list[Fact]()
    model = with_own_biases(model)
    for name in names("ptq_pass"):
        setting = getattr(settings, name, None)
        if setting is None or setting is False:
            continue
        run_pass: PTQPass = lookup("ptq_pass", name).load()
        result: PassResult = run_pass(model, PassInputs(batches, setting, exclude, reporter))
        model = result.model
        skipped += result.skipped
        notes += result.notes
    weights = settings.weights
    options = RoundingOptions(
        bits, per_channel, weights.range == "mse", weights.rounding, weights.iterations, settings.bias_correction
    )
    prepared = PreparedModel(model)
    if lookup("rounding", weights.rounding).options.get("blockwise"):
        prepared = lookup("rounding", weights.rounding).load()(model, batches, options, exclude=exclude, reporter=reporter)
    elif (weights.bits, weights.range, weights.rounding, settings.bias_correction) != (8, "minmax", "nearest", "none"):
        prepared = round_weights(model, batches, options, exclude=exclude, reporter=reporter)
    return PTQResult(prepared, model, (*skipped, *prepared.skipped), (*notes, *prepared.notes))
