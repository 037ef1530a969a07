"""Stage `sensitivity`: validation metric over the removed fraction of a single layer, without training.

Han et al. 2015, arXiv:1506.02626, figure 6; Li et al. 2017, arXiv:1608.08710, section 4. The largest fraction of a layer whose
removal loses at most `drop` is its ceiling in `sensitivity.json`, which `max_ratio` of a pruning stage reads. Imports no torch.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field

from compress.core.entries import Row, number, text
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.metric_limits import allowed_loss
from compress.core.record import Metric
from compress.core.stage import Candidate, Context, Outcome, Stage
from compress.prune.schedule_settings import ImportanceName

NAMED = 16
"""Number of layers that the legend of the figure names."""

TABLE, FIGURE = "sensitivity.json", "sensitivity.svg"
Ratio = Annotated[float, Field(gt=0.0, lt=1.0)]


class Sensitivity(Stage):
    """Measure the loss of the metric when a part of one layer is removed. The network is not changed.

    Attributes:
        granularity: `channel` or `weight`.
        importance: The lowest scores are removed first.
        ratios: Fractions of a layer to remove.
        drop: Largest loss of the validation metric for one layer. For a metric that is a fraction, 0.01 is one percentage
            point; for any other metric it is a fraction of the dense network's value.
        round_to: Channel counts are multiples of it.
        protect: Globs of module names that are not pruned.
        batch_size: Samples in a training batch.
        batches: Training batches for an importance that is computed from data.
    """

    granularity: Literal["channel", "weight"] = "channel"
    importance: ImportanceName = "magnitude"
    ratios: tuple[Ratio, ...] = Field(default=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), min_length=1)
    drop: float = Field(default=0.01, gt=0.0, lt=1.0)
    round_to: int = Field(default=1, ge=1, le=256)
    protect: tuple[str, ...] = ()
    batch_size: int = Field(default=64, ge=1)
    batches: int = Field(default=8, ge=1)

    def smoke(self) -> Self:
        """One ratio, two batches."""
        return self.model_copy(update={"ratios": self.ratios[:1], "batches": min(self.batches, 2)})

    def run(self, candidate: Candidate, context: Context) -> Outcome:
        """Prune each layer by each ratio and measure; writes `sensitivity.json` and `sensitivity.svg` to the stage's folder.

        Raises:
            ModelError: The network cannot be traced, or has nothing to prune.
        """
        from compress.core.atomic_files import atomic_write, write_text
        from compress.prune.base import Constraints
        from compress.prune.results import validation_metric
        from compress.prune.sensitivity_scan import scan

        parent, metric = copy.deepcopy(candidate.network()).eval(), context.task.metric_info
        dense = validation_metric(parent, context)
        limits = Constraints(round_to=self.round_to, max_ratio=0.99, protect=self.protect)
        table, skipped = scan(self, parent, candidate, context, limits)
        rows = tuple(table)
        allowed = allowed_loss(self.drop, metric, lambda: dense)
        ceilings = max_ratios(rows, dense, allowed, metric)
        table_file = {"max_ratio": ceilings, "drop": allowed, f"dense_{metric.name}": dense, "rows": rows}
        write_text(context.folder / TABLE, json.dumps(table_file, indent=1))
        with atomic_write(context.folder / FIGURE) as temporary:
            temporary.write_bytes(draw(rows, dense, metric))
        note = Fact.of("prune.sensitivity_table", TABLE, figure=FIGURE)
        return Outcome(candidate, skipped=skipped, notes=(note,), tables={"sensitivity": rows})


def max_ratios(rows: Sequence[Row], dense: float, drop: float, metric: Metric) -> dict[str, float]:
    """Largest ratio of each layer up to which no ratio loses more than `drop`; 0 where the smallest one does already.

    Args:
        rows: `layer`, `ratio` and the metric.
        dense: The metric of the dense network.
        drop: Largest loss, in the metric's unit.
        metric: The metric.
    """
    ratios: dict[str, float] = {}
    over: set[str] = set()
    for row in sorted(rows, key=lambda row: number(row, "ratio")):
        layer, ratio = text(row, "layer"), number(row, "ratio")
        over |= {layer} if -metric.gain(dense, number(row, metric.name)) > drop + 1e-9 else set()
        ratios[layer] = ratios.get(layer, 0.0) if layer in over else ratio
    return {layer: ratios[layer] for layer in dict.fromkeys(text(row, "layer") for row in rows)}


def draw(rows: Sequence[Row], dense: float, metric: Metric) -> bytes:
    """SVG of the metric over the removed fraction: one line for each layer, lighter towards the end of the network.

    If there are many layers, the `NAMED` most sensitive ones are in colour and named, the others are grey.
    """
    from matplotlib import colormaps

    from compress.core.plot_style import FAINT, escape_text, new_figure, style_axes, to_svg

    layers = list(dict.fromkeys(text(row, "layer") for row in rows))
    figure = new_figure(7.2, 3.6)
    axes = figure.subplots()
    shades = colormaps["viridis"]
    points = {layer: [(0.0, dense)] for layer in layers}
    for row in rows:
        points[text(row, "layer")].append((number(row, "ratio"), number(row, metric.name)))
    worst = {layer: min(metric.gain(dense, value) for _, value in own[1:]) for layer, own in points.items()}
    named = sorted(layers, key=lambda layer: worst[layer])[:NAMED]
    for index, layer in enumerate(layers):
        style = {"color": shades(0.9 * index / max(len(layers) - 1, 1)), "label": escape_text(layer), "zorder": 3}
        looks = style if layer in named else {"color": FAINT}
        axes.plot(*zip(*points[layer], strict=True), linewidth=1.2, marker="o", markersize=2.5, **looks)
    axes.set_xlabel(gettext("fraction of the layer removed, all others whole"))
    axes.set_ylabel(gettext("validation {name}", name=gettext(metric.label)))
    if not metric.higher_is_better:
        axes.invert_yaxis()  # better is up
    style_axes(axes)
    title = gettext("most sensitive layers") if len(named) < len(layers) else None
    figure.legend(loc="outside right upper", fontsize=6, frameon=False, title=title, title_fontsize=6)
    return to_svg(figure)
