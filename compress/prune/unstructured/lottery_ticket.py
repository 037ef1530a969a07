"""Lottery tickets: after each pruning step the remaining weights are rewound to values from early in training.

Frankle & Carbin 2019, "The Lottery Ticket Hypothesis", arXiv:1803.03635 (rewinding to the initialisation); Frankle et al. 2020,
"Linear Mode Connectivity and the Lottery Ticket Hypothesis", arXiv:1912.05671 (rewinding to step k). Each round trains with the
whole schedule of `recover`, starting from the weights of step k.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from compress.core.atomic_files import write_with
from compress.core.entries import State, integer, number
from compress.core.errors import TrainingError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.record import Metric


class WeightRewinder:
    """Writes the weights as they are after optimizer step k; a hook of the training loop.

    Args:
        module: In training.
        step: k, at least 1.
        path: Safetensors file.
    """

    def __init__(self, module: nn.Module, step: int, path: Path) -> None:
        self.module, self.step, self.path = module, step, path
        self.done = 0
        self.identity = f"snapshot after step {step}"

    def __call__(self) -> None:
        """Count; write at step k."""
        self.done += 1
        if self.done == self.step:
            write_weights(self.module, self.path)

    def state_dict(self) -> State:
        """Steps so far."""
        return {"done": self.done}

    def load_state_dict(self, state: State) -> None:
        """Count on."""
        self.done = integer(state, "done")


def write_weights(module: nn.Module, path: Path) -> None:
    """Write all weights and buffers to a safetensors file."""
    state = {name: value.detach().cpu().clone().contiguous() for name, value in module.state_dict().items()}
    write_with(path, lambda aside: save_file(state, aside))


def read_weights(path: Path, step: int, steps: int) -> dict[str, Tensor]:
    """Read the weights that `WeightRewinder` stored.

    Args:
        path: Safetensors file.
        step: k, for the message.
        steps: Optimizer steps of the dense training, for the message.

    Raises:
        TrainingError: The file is missing, because the training ended before step k or the file was removed; or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        msg = gettext("cannot read the weights of step {step} for rewinding from {name}", step=step, name=path.name)
        if step > steps:
            msg = gettext(
                "{msg}: the dense training has {steps} steps; set rewind to at most {steps}, or train for more epochs",
                msg=msg,
                steps=steps,
            )
        else:
            msg = gettext("{msg}; run again with --fresh, which repeats the dense training", msg=msg)
        raise TrainingError(msg) from error


def rewind(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Restore all weights and buffers; the caller applies the masks afterwards."""
    with torch.no_grad():
        module.load_state_dict(dict(weights))


def write_masks(removals: Mapping[str, Tensor], path: Path) -> None:
    """Write a boolean mask for each weight, True where it is kept: the ticket is the masks times the rewound weights.

    Args:
        removals: By parameter name, True where a weight is removed.
        path: Safetensors file.
    """
    masks = {name: (~removal).cpu().contiguous() for name, removal in removals.items()}
    write_with(path, lambda aside: save_file(masks, aside))


def find_winning_ticket(rows: Sequence[Mapping[str, object]], metric: Metric) -> Fact:
    """The winning ticket: the sparsest round whose metric is at least as good as that of the dense network."""
    column = f"{metric.name}_recovered"
    dense = number(rows[0], column)
    winning = [row for row in rows[1:] if metric.gain(dense, number(row, column)) >= 0]
    if not winning:
        return Fact.of("prune.no_winning_ticket", metric.label, dense=dense)
    best = winning[-1]
    step = integer(best, "step")
    return Fact.of(
        "prune.winning_ticket",
        metric.label,
        round=step,
        value=number(best, column),
        sparsity=number(best, "sparsity"),
        dense=dense,
        file=f"masks-{step}.safetensors",
    )
