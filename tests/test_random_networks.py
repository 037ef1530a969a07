"""Random small networks: torch, the exported file and the pruned network compute the same, or a refusal says why not."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compress.backends import onnx_session
from compress.backends.export_onnx import export_onnx
from compress.core.errors import CompressError
from compress.prune.base import Constraints
from compress.prune.criteria import magnitude
from compress.prune.structured.channels import ChannelPruner
from tests.random_network import SPEC, RandomNetwork, zeroed_outputs

TOLERANCE = 1e-4
IN_CI, IN_ALL = 5, 500
PER_TEST = 5
FRACTION = 0.7


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference, relative to the largest output where that is over 1."""
    return float(np.abs(a - b).max() / max(1.0, np.abs(b).max()))


def export_error(network: RandomNetwork, folder: Path) -> float | None:
    """Largest error of the exported file, alone and in a batch; None for a refusal."""
    try:
        notes = export_onnx(network, SPEC, folder / "model.onnx")
    except CompressError:
        return None
    session = onnx_session.create_session(folder / "model.onnx")
    sizes = (1,) if any("fixed to 1" in str(note) for note in notes) else (1, 3)
    errors = []
    for size in sizes:
        x = torch.randn(size, *SPEC.shape, generator=torch.Generator().manual_seed(size))
        with torch.no_grad():
            errors.append(difference(onnx_session.run(session, x.numpy()), network(x).numpy()))
    return max(errors)


def prune(network: RandomNetwork) -> nn.Module:
    pruner = ChannelPruner(network, SPEC, measure="params", ranking="local", limits=Constraints(round_to=1))
    return pruner.prune(network, FRACTION, magnitude()).module


def pruning_error(network: RandomNetwork) -> float | None:
    """Largest difference between the pruned network and the dense one with zeros; None for a refusal or if nothing went."""
    try:
        pruned = prune(network)
    except CompressError:
        return None
    if sum(p.numel() for p in pruned.parameters()) == sum(p.numel() for p in network.parameters()):
        return None
    x = torch.randn(3, *SPEC.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return difference(pruned(x).numpy(), zeroed_outputs(network, pruned, x).numpy())


@pytest.mark.parametrize(
    "start", [pytest.param(n, marks=[] if n < IN_CI else pytest.mark.slow) for n in range(0, IN_ALL, PER_TEST)]
)
def test_torch_equals_the_exported_file_and_pruning_equals_zeros(start: int, tmp_path: Path) -> None:
    exported, pruned = {}, {}
    for seed in range(start, start + PER_TEST):
        network = RandomNetwork(seed, most=2 if seed < IN_CI else 4)
        exported[seed], pruned[seed] = export_error(network, tmp_path), pruning_error(network)
    wrong = {
        (what, seed): error
        for what, errors in (("export", exported), ("pruning", pruned))
        for seed, error in errors.items()
        if error is not None and not error <= TOLERANCE
    }
    assert not wrong
    assert sum(error is not None for error in exported.values()) >= PER_TEST - 1
    assert sum(error is not None for error in pruned.values()) >= PER_TEST // 3


def test_a_layer_that_reads_other_channels_is_found() -> None:
    network = RandomNetwork(10)
    pruned = prune(network)
    wrong = copy.deepcopy(pruned)
    with torch.no_grad():
        wrong.hidden.weight.copy_(pruned.hidden.weight.roll(1, dims=1))
    x = torch.randn(3, *SPEC.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert difference(pruned(x).numpy(), zeroed_outputs(network, pruned, x).numpy()) <= TOLERANCE
        assert difference(wrong(x).numpy(), zeroed_outputs(network, wrong, x).numpy()) > TOLERANCE
