"""Whether every classification family of torchvision can be pruned to half of its MACs, exported and run.

    python tests/benchmarks/bench_pruning_families.py --out FOLDER [--only resnet18,vit_b_16]

One small member of each family, and some more with other kinds of blocks; random weights, the smallest input size of each, no
training. Channels and heads are ranked by magnitude over the whole network; widths are multiples of eight. The table has for
each
network: fractions of MACs and parameters that remain; the largest difference between torch and ONNX Runtime relative to the
    largest
output; latency of the dense network divided by that of the pruned one, interleaved (one thread, batch 1, 0.5 s each; at such
small inputs operator overhead dominates); and the number of layers that were not pruned, with the most common reason. FOLDER
stores finished networks, which are not computed again. Prints a Markdown table; exits with 1 if a network fails. Takes about
15 minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from compress.backends import onnx_files, onnx_session
from compress.core.atomic_files import write_text
from compress.core.errors import CompressError
from compress.core.network_spec import NetworkSpec, image_spec
from compress.core.sentences import render, render_subject
from compress.models.count_macs import count_network
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.profile.compare_networks import exported, measure_interleaved
from compress.profile.latency.timing import speedup
from compress.prune.base import Constraints
from compress.prune.criteria import magnitude
from compress.prune.structured import attention_heads as heads
from compress.prune.structured.channels import ChannelPruner
from compress.prune.structured.head_layouts import count_heads
from tests.models.families import FAMILIES, Family

KEPT = 0.5
PARITY = 1e-3
MORE = (
    Family("densenet169"),
    Family("efficientnet_b1"),
    Family("mnasnet1_0"),
    Family("mobilenet_v3_large"),
    Family("regnet_y_800mf"),
    Family("resnet50"),
    Family("shufflenet_v2_x1_0"),
    Family("squeezenet1_0"),
    Family("vgg13_bn"),
    Family("vit_b_32", size=64, args={"num_layers": 4}),
)
"""Other widths, depths and kinds of blocks of families that `FAMILIES` has one member of."""


@dataclass
class Row:
    """What came of one network; `failed` is empty when all did."""

    name: str
    size: int
    seconds: float = 0.0
    macs: float | None = None
    params: float | None = None
    heads: str = ""
    parity: float | None = None
    speedup: float | None = None
    alone: str = ""
    failed: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """As a row of the table."""

        def shown(value: float | None, how: str) -> str:
            return "" if value is None else format(value, how)

        kept = [shown(self.macs, ".3f"), shown(self.params, ".3f"), self.heads]
        ran = [shown(self.parity, ".1e"), shown(self.speedup, ".2f"), self.failed or "yes"]
        return "| " + " | ".join([self.name, f"{self.size}²", *kept, *ran, self.alone]) + " |"


def measured(family: Family) -> Row:
    """Prune, export, run."""
    row, began = Row(family.name, family.size), time.monotonic()
    names = tuple(map(str, range(10)))
    spec = image_spec(channels=3, height=family.size, width=family.size, mean=(0.5,) * 3, std=(0.25,) * 3, classes=names)
    settings = ModelSettings(source=f"torchvision:{family.name}", args=family.args)
    dense = build_model(settings, spec, seed=0, base=Path.cwd()).module.eval()
    _wake(dense)
    try:
        pruner = ChannelPruner(dense, spec, measure="macs", ranking="global", limits=Constraints())
        cut = pruner.prune(dense, KEPT, magnitude())
    except CompressError as error:
        row.failed = str(error)
        return row
    before, after = count_network(dense, spec), count_network(cut.module, spec)
    row.macs, row.params, row.notes = (
        after.macs / before.macs,
        after.parameters / before.parameters,
        [render(note) for note in cut.notes],
    )
    had = count_heads(dense)
    row.heads = f"{sum(heads.count_heads_of(cut.module, list(had)).values())} of {sum(had.values())}" if had else ""
    layers = sum(isinstance(part, (nn.modules.conv._ConvNd, nn.Linear)) for part in dense.modules())
    row.alone = _alone([(render_subject(fact), render(fact)) for fact in pruner.skipped], layers)
    try:
        row.parity, row.speedup = _run(dense, cut.module, spec)
    except CompressError as error:
        row.failed = str(error)
    row.failed = row.failed or _missed(row)
    row.seconds = time.monotonic() - began
    return row


def _wake(module: nn.Module) -> None:
    """Give layers that start at zero, as the head of a ViT, weights of their own: else every answer is 0."""
    generator = torch.Generator().manual_seed(2)
    for part in module.modules():
        if isinstance(part, nn.Linear) and not part.weight.any():
            part.weight.data.normal_(std=0.02, generator=generator)


def _run(dense: nn.Module, small: nn.Module, spec: NetworkSpec) -> tuple[float, float]:
    x = torch.randn(2, *spec.shape, generator=torch.Generator().manual_seed(1))
    with exported({"dense": dense, "small": small}, spec) as files:
        found = onnx_session.run(onnx_session.create_session(onnx_files.load(files["small"])), x.numpy())
        timings = measure_interleaved(files, spec.signature, seconds=0.5)
    with torch.no_grad():
        wanted = small(x).numpy()
    gain = speedup(timings["dense"], timings["small"]).value
    return float(np.abs(found - wanted).max() / np.abs(wanted).max()), float(gain or float("nan"))


def _alone(skips: list[tuple[str, str]], layers: int) -> str:
    if not skips:
        return "none"
    reason, times = Counter(reason for _, reason in skips).most_common(1)[0]
    return f"{len(skips)} of {layers}; {times} × {reason}"


def _missed(row: Row) -> str:
    if row.macs is None or row.macs > KEPT:
        return "; ".join(row.notes) or "target not reached"
    if row.parity is None or not row.parity <= PARITY:
        return f"outputs differ by {row.parity}"
    return ""


def main() -> int:
    """Compute what is missing and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="names, with commas between them")
    given = parser.parse_args()
    torch.set_num_threads(1)
    wanted = given.only.split(",") if given.only else [family.name for family in (*FAMILIES, *MORE)]
    rows = []
    for family in (*FAMILIES, *MORE):
        if family.name not in wanted:
            continue
        path = given.out / f"{family.name}.json"
        if not path.exists():
            found: dict[str, Any] = vars(measured(family))
            write_text(path, json.dumps(found, indent=1))
            print(f"{family.name}: {found['seconds']:.0f} s {found['failed']}", file=sys.stderr, flush=True)
        rows.append(Row(**json.loads(path.read_text())))
    print("| network | input | MACs kept | parameters kept | heads left | outputs differ | time ÷ | done | left alone |")
    print("|---|---:|---:|---:|---|---:|---:|---|---|")
    print("\n".join(row.line for row in rows))
    done = [row for row in rows if not row.failed]
    families = {family.name for family in FAMILIES}
    own = sum(row.name in families for row in done)
    print(f"\n{len(done)} of {len(rows)} networks, {own} of {len(families & {row.name for row in rows})} families.")
    return 0 if len(done) == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
