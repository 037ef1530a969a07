"""Importance of residual blocks and transformer layers: by the outputs, by block influence, by the validation loss.

Blocks with the smallest scores are dropped first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.core.registry import lookup
from compress.tasks.flat_outputs import run_flat


@dataclass(frozen=True, eq=False)
class BlockScoring:
    """How blocks are scored, and by what.

    Attributes:
        samples: Training samples, (N, …) for each input, in the order of the signature.
        method: Name in the registry.
        mask: 1 at tokens and 0 at padding of the samples, (N, L); None without padding.
        loss: Mean loss of a network on the validation split; None where no method needs it.
    """

    samples: tuple[Tensor, ...]
    method: str = "outputs"
    mask: Tensor | None = None
    loss: Callable[[nn.Module], float] | None = None

    @property
    def is_greedy(self) -> bool:
        """Whether the remaining blocks are scored again after each removal, by losses that hold for one removal only."""
        return bool(lookup("block_score", self.method).options.get("greedy"))

    def scores(self, module: nn.Module, blocks: Sequence[str]) -> dict[str, float]:
        """The score of each block by name."""
        scores: dict[str, float] = lookup("block_score", self.method).load()(module, blocks, self)
        return scores


@torch.no_grad()
def output_change(module: nn.Module, blocks: Sequence[str], data: BlockScoring) -> dict[str, float]:
    """Relative change of the outputs without the block.

    I_b = ‖f(x) − f_without_b(x)‖ / ‖f(x)‖        over training samples x
    """
    dense = run_flat(module, data.samples)
    changes = {}
    for name in blocks:
        with _skipping(module, name):
            changes[name] = float((run_flat(module, data.samples) - dense).norm() / dense.norm().clamp(min=1e-30))
    return changes


@torch.no_grad()
def block_influence(module: nn.Module, blocks: Sequence[str], data: BlockScoring) -> dict[str, float]:
    """Block influence: how much a block turns the vectors of its tokens, or of its positions in an image.

    BI_b = 1 − mean over t of x_t · y_t / (‖x_t‖ ‖y_t‖)        x_t, y_t input and output of block b at token t

    Padding is not counted. It takes one run of the network. Men et al. 2024, "ShortGPT", arXiv:2403.03853, equation 1.
    """
    found: dict[str, float] = {}

    def record(name: str, dim: int) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor | tuple[Tensor, ...]) -> None:
            y = output[0] if isinstance(output, tuple) else output
            cosines = nn.functional.cosine_similarity(inputs[0].double(), y.double(), dim=dim)
            counted = cosines if data.mask is None or data.mask.shape != cosines.shape else cosines[data.mask.bool()]
            found[name] = 1 - float(counted.mean())

        return hook

    handles = []
    for name in blocks:
        part = module.get_submodule(name)
        is_image = any(isinstance(layer, nn.Conv2d) for layer in part.modules())
        handles.append(part.register_forward_hook(record(name, 1 if is_image else -1)))
    try:
        module(*data.samples)
    finally:
        for handle in handles:
            handle.remove()
    return found


def validation_loss(module: nn.Module, blocks: Sequence[str], data: BlockScoring) -> dict[str, float]:
    """Mean loss on the validation split without the block: a greedy search over all sets of blocks.

    The loss distinguishes blocks that give the same metric. It takes a pass over the validation split for each block and
    removal. Sajjad et al. 2020, arXiv:2004.03844, compare it with other orders for BERT.

    Raises:
        ModelError: There is no validation split.
    """
    if data.loss is None:
        msg = gettext("block_score 'search' needs a validation split; use 'influence' or 'outputs'")
        raise ModelError(msg)
    losses = {}
    for name in blocks:
        with _skipping(module, name):
            losses[name] = data.loss(module)
    return losses


@contextmanager
def _skipping(module: nn.Module, name: str) -> Iterator[None]:
    """In the context, a block returns its input."""
    handle = module.get_submodule(name).register_forward_hook(_return_input)
    try:
        yield
    finally:
        handle.remove()


def _return_input(_: nn.Module, inputs: tuple[object, ...], output: object) -> object:
    return (inputs[0], *output[1:]) if isinstance(output, tuple) else inputs[0]
