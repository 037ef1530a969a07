"""Record entries of a pruned network: table of steps, results, table of layers, notes; and its validation metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import nn

from compress.core.entries import Row, integer, number
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.record import Quantity
from compress.core.stage import Candidate, Context
from compress.models.count_macs import count_network
from compress.prune.schedule_settings import has_option
from compress.prune.structured import attention_heads as heads
from compress.prune.unstructured.weights import compressed_bytes, count_zeros
from compress.train.validation_scores import validation_scores

if TYPE_CHECKING:
    from compress.prune.stage import Prune

LAYER, BLOCK = "layer", "block"
"""Columns with the name of the layer or block in the table of layers."""
_WITH_CHANNELS = (nn.modules.conv._ConvNd, nn.Linear, nn.Embedding)


def figures(module: nn.Module, candidate: Candidate, protected: frozenset[str]) -> dict[str, object]:
    """MACs, parameters and sparsity of one network, for its row of the table of steps."""
    counts = count_network(module, candidate.spec)
    return {"macs": counts.macs, "parameters": counts.parameters, "sparsity": _sparsity(module, protected)}


def _sparsity(module: nn.Module, protected: frozenset[str]) -> float:
    counted = count_zeros(module, protected).values()
    return sum(zero for zero, _ in counted) / max(sum(n for _, n in counted), 1)


def results(
    stage: Prune, candidate: Candidate, parent: nn.Module, module: nn.Module, protected: frozenset[str]
) -> dict[str, Quantity]:
    """Cost of the pruned network as a fraction of that of the dense network, in the measures of the granularity.

    Args:
        stage: Settings.
        candidate: The dense network, for its input specification.
        parent: The dense network.
        module: The pruned network.
        protected: Names of modules whose weights do not count as prunable.
    """
    before, after = count_network(parent, candidate.spec), count_network(module, candidate.spec)
    if has_option("granularity", stage.granularity, "structured"):
        return {
            "macs_ratio": Quantity.measured(
                after.macs / before.macs,
                "fraction",
                gettext("multiply-accumulates of one sample ÷ those of the dense network; counted"),
            ),
            "parameters_ratio": Quantity.measured(
                after.parameters / before.parameters, "fraction", gettext("parameters ÷ those of the dense network; counted")
            ),
        }
    prunable = sum(n for _, n in count_zeros(module, protected).values())
    zeros = sum(int((p == 0).sum()) for p in module.parameters())
    return {
        "sparsity": Quantity.measured(
            _sparsity(module, protected),
            "fraction",
            gettext("zeros counted in {prunable} prunable weights (no biases, no normalisation)", prunable=prunable),
        ),
        "parameters_ratio": Quantity.measured(
            1 - zeros / before.parameters, "fraction", gettext("nonzero parameters ÷ all parameters; counted")
        ),
        "compressed_bytes": Quantity.measured(
            compressed_bytes(module), "bytes", gettext("float32 weights after DEFLATE (zlib, level 6)")
        ),
        "compressed_bytes_before": Quantity.measured(
            compressed_bytes(parent), "bytes", gettext("float32 weights of the dense network after DEFLATE (zlib, level 6)")
        ),
    }


def notes(stage: Prune, parent: nn.Module, module: nn.Module, round_to: int) -> tuple[Fact, ...]:
    """Points for review: zeros that a dense runtime does not skip, and widths that are no multiple of `round_to`."""
    if not has_option("granularity", stage.granularity, "structured"):
        return (Fact.of("prune.dense_runtime", stage.granularity),)
    if stage.granularity != "channel":
        return ()
    names = unrounded(module, parent, round_to)
    return (Fact.of("prune.widths_not_multiples", round_to=round_to, layers=names),) if names else ()


def removed_fractions(rows: Sequence[Mapping[str, object]]) -> dict[str, float]:
    """Removed fraction of each layer, by name, from the rows of the table of layers."""
    return {_subject(row): round(_removed_fraction(row), 4) for row in rows}


def _subject(row: Mapping[str, object]) -> str:
    return str(row[LAYER if LAYER in row else BLOCK])


def _removed_fraction(row: Mapping[str, object]) -> float:
    if "sparsity" in row:
        return number(row, "sparsity")
    return 1 - number(row, "out_after") / number(row, "out_before") if "out_after" in row else 1.0


def by_step(rows: Sequence[Mapping[str, object]], steps: Sequence[Mapping[str, float]]) -> tuple[Row, ...]:
    """The rows of the table of layers, each with the removed fraction of the layer after every step."""
    if len(steps) < 2:
        return tuple(map(dict, rows))
    return tuple({**row, "gone_after_each_step": [step.get(_subject(row), 0.0) for step in steps]} for row in rows)


def layers(stage: Prune, parent: nn.Module, module: nn.Module) -> tuple[Row, ...]:
    """A row for each layer: channels before and after, or weights and zeros."""
    if stage.granularity == "channel":
        return (*channel_rows(parent, module), *heads.head_rows(parent, module))
    if stage.granularity == "component":
        return channel_rows(parent, module)
    return tuple(
        {"layer": name, "weights": n, "zeros": zero, "sparsity": zero / n} for name, (zero, n) in count_zeros(module).items()
    )


def channel_rows(before: nn.Module, after: nn.Module) -> tuple[Row, ...]:
    """Output and input channels of each convolution, linear layer and embedding, whose inputs are its rows."""
    layers_after = dict(after.named_modules())
    rows = []
    for name, part in before.named_modules():
        if isinstance(part, _WITH_CHANNELS) and part.weight.numel():
            (out_before, in_before), (out_after, in_after) = _widths(part), _widths(layers_after[name])
            columns = {"out_before": out_before, "out_after": out_after, "in_before": in_before, "in_after": in_after}
            rows.append({"layer": name, **columns})
    return tuple(rows)


def unrounded(module: nn.Module, before: nn.Module, round_to: int) -> tuple[str, ...]:
    """Layers whose output width changed and is no multiple of `round_to`, as `name (width)`."""
    return tuple(
        f"{row['layer']} ({row['out_after']})"
        for row in channel_rows(before, module)
        if row["out_after"] != row["out_before"] and integer(row, "out_after") % round_to
    )


def _widths(part: nn.Module) -> tuple[int, int]:
    """(output, input) channels."""
    if isinstance(part, nn.modules.conv._ConvNd):
        return part.out_channels, part.in_channels
    if isinstance(part, nn.Linear):
        return part.out_features, part.in_features
    if isinstance(part, nn.Embedding):
        return part.embedding_dim, part.num_embeddings
    msg = gettext("{kind} is no convolution, linear layer or embedding", kind=type(part).__name__)
    raise TypeError(msg)


def validation_metric(module: nn.Module, context: Context) -> float:
    """The metric of the task on the validation split."""
    return validation_scores(module, context).metric
