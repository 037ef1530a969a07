"""Quantization-aware training of integer weights in blocks, with the float network as teacher.

    rounded matrices ─► fake quantization of the torch layers ─► training ─► integers and scales of the same blocks

The weights and scales of linear layers are trained, and nothing else: the other tensors of the exported file stay those of the
float network. The result is used only if it is at least as accurate as before. Liu et al. 2024, LLM-QAT, arXiv:2305.17888,
section 2 (distillation from the float network); zero points are fixed and scales learned as in `fake_quantize`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from compress.backends import onnx_files
from compress.core.environment import is_main
from compress.core.fact import Fact
from compress.core.record import Curve, Metrics
from compress.core.stage import Candidate, Context
from compress.quantize.ptq.weighted_layers import WeightedLayer, read_weight
from compress.quantize.qat.block_fake_quantize import read_rounded, round_weight
from compress.quantize.qat.train import compare_recovered, epochs_of
from compress.quantize.schemes import REFERENCE, SchemeOptions, build_models
from compress.quantize.settings import QATSettings
from compress.quantize.target_requirements import BLOCK_BITS, Scheme
from compress.quantize.weight_only.matmul_nbits import linear_layers, round_layers
from compress.quantize.weight_only.round_blocks import Weights
from compress.train.finetune import finetune


@dataclass(frozen=True, eq=False)
class BlockRecovery:
    """Options with the trained matrices, and results for the record."""

    options: SchemeOptions
    results: Metrics = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    notes: tuple[Fact, ...] = ()
    skipped: tuple[Fact, ...] = ()


def train_blocks(
    scheme: Scheme, model: ir.Model, options: SchemeOptions, settings: QATSettings, candidate: Candidate, context: Context
) -> BlockRecovery:
    """Train the integers and scales of the linear layers of a network.

    A layer takes part whose weight is that of the torch layer of its name, and that no other layer shares.

    Args:
        scheme: One of `BLOCK_BITS`.
        model: Float network; not changed.
        options: Options of the scheme; their rounding is where the training starts.
        settings: Settings of the training.
        candidate: Float network; it is the teacher unless the settings name another one.
        context: Data, task, folders, seed and device.
    """
    bits, parts = BLOCK_BITS[scheme], options.parts
    start, notes = round_layers(model, options.blocks(bits), exclude=options.exclude, parts=parts)
    options = replace(options, given=start)
    module = copy.deepcopy(candidate.network()).requires_grad_(False)
    flags = {name: weight.requires_grad for name, weight in candidate.network().named_parameters()}
    matched, others = match_layers(model, linear_layers(model, parts.excluded(model, options.exclude)), module)
    skipped = tuple(Fact.of("quantize_ptq.block_not_trained", name) for name in others)
    if not matched:
        return BlockRecovery(options, notes=notes, skipped=skipped)
    for key, (path, transposed) in matched.items():
        layer = module.get_submodule(path)
        layer.get_parameter("weight").requires_grad_(flags[f"{path}.weight"])
        round_weight(layer, start[key], transposed=transposed, learned=settings.scales == "learned")
    zeros = _Zeros(module, [path for path, _ in matched.values()])
    history = finetune(
        module, settings, parent=candidate.network(), context=context, label="recover", after_step=zeros.restore
    )  # fmt: skip
    if not is_main():
        return BlockRecovery(options)
    trained: Weights = {key: read_rounded(module.get_submodule(path)) for key, (path, _) in matched.items()}
    learned = replace(options, given={**start, **trained})
    before, after = (build_models(scheme, model, (REFERENCE,), each).models[REFERENCE] for each in (options, learned))
    for network in (before, after):
        onnx_files.write_metadata(network, candidate.spec)
    results, better = compare_recovered(before, after, module, context)
    note = Fact.of(
        "quantize_ptq.blocks_recovered" if better else "quantize_ptq.block_recovery_discarded",
        layers=len(matched),
        scales=settings.scales,
        best_epoch=history.best_epoch,
        epochs=history.epochs,
    )
    curves = {f"recover {name}": curve for name, curve in history.curves.items()}
    return BlockRecovery(
        learned if better else options, results | epochs_of(history), curves, (*notes, note, *history.notes), skipped
    )


Matched = Mapping[tuple[str, int], tuple[str, bool]]
"""Path of the torch layer of a matrix, and whether it holds the transposed matrix."""


def match_layers(model: ir.Model, layers: list[WeightedLayer], module: nn.Module) -> tuple[Matched, tuple[str, ...]]:
    """The torch layers with the matrices of an exported network, and the names of the layers that have none or share it.

    Args:
        model: The exported network.
        layers: Its layers.
        module: The torch network.
    """
    modules = dict(module.named_modules())
    uses: dict[int, int] = {}
    for _, parameter in module.named_parameters(remove_duplicate=False):
        uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    matched: dict[tuple[str, int], tuple[str, bool]] = {}
    others: list[str] = []
    for layer in layers:
        path = layer.name.partition("/")[0]
        weight = getattr(modules.get(path), "weight", None)
        matrix = layer.to_matrix(read_weight(model, layer.weight))[0]
        transposed = None
        if isinstance(weight, nn.Parameter) and uses[id(weight)] == 1 and layer.key not in matched:
            transposed = _orientation(matrix, weight.detach().float().cpu().numpy())
        if transposed is None:
            others.append(layer.name)
        else:
            matched[layer.key] = path, transposed
    return matched, tuple(others)


def _orientation(matrix: np.ndarray, weight: np.ndarray) -> bool | None:
    """Whether a weight is the transposed matrix; None if it is another matrix."""
    for transposed, each in ((False, weight), (True, weight.T)):
        if each.shape == matrix.shape and np.allclose(each, matrix, rtol=1e-5, atol=1e-7):
            return transposed
    return None


class _Zeros:
    """Keeps pruned weights at 0.

    Args:
        module: The network.
        paths: Layers of `round_weight`.
    """

    def __init__(self, module: nn.Module, paths: list[str]) -> None:
        self.module, self.paths = module, paths
        self.masks = {path: mask for path in paths if (mask := self._weight(path) == 0).any()}

    def _weight(self, path: str) -> torch.Tensor:
        return self.module.get_submodule(path).get_parameter("parametrizations.weight.original").detach()

    def restore(self) -> None:
        """Set the weights to 0 that were 0 at the start."""
        for path, mask in self.masks.items():
            self._weight(path).masked_fill_(mask.to(self._weight(path).device), 0.0)
