"""LM-Cocktail and other merges of two fine-tuned toy decoders: what is left of each domain, over three seeds.

    python tests/benchmarks/bench_language_merge.py [--seeds 0,1,2] [--steps 300] [--further 150]

One decoder (2 layers of width 64, of bytes) is trained on both domains, help topics of Python and source code of its library,
and then fine-tuned on each alone. The measure is the accuracy of the next byte on text that no step sees; what a merge keeps of
a domain is its accuracy over that of the decoder that was fine-tuned on it. Prints a table.
"""

from __future__ import annotations

import argparse
import copy
import inspect
import pydoc_data.topics
import textwrap

import numpy as np
import torch
from bench_language_prune import LENGTH, TASK, make_batch, train
from torch import nn
from torch.nn import functional as F

from compress.core.network_spec import NetworkSpec
from compress.core.signature import BATCH, AxisSizes, Signature, TensorSpec
from compress.merge.load_network import float_tensors
from compress.merge.method import MergeMethod
from compress.merge.methods.cocktail import Cocktail
from compress.merge.methods.task_arithmetic import TaskArithmetic
from compress.merge.methods.ties import Ties
from compress.models.factory import build_model
from compress.models.settings import ModelSettings

SIZES = {"layers": 2, "width": 64, "heads": 2, "key_value_heads": 1, "feed_forward": 192}
BYTES, HELD_OUT, BATCHES = 128, 10, 8
METHODS: dict[str, MergeMethod] = {
    "LM-Cocktail": Cocktail(),
    "task arithmetic, λ = 0.5": TaskArithmetic(scale=0.5),
    "TIES, λ = 1": Ties(density=0.5),
}


def domains() -> tuple[torch.Tensor, torch.Tensor]:
    """Byte numbers of help topics, and of source code of modules of the standard library."""
    code = "\n".join(inspect.getsource(module) for module in (argparse, inspect, textwrap))
    texts = "\n".join(pydoc_data.topics.topics.values()), code
    first, second = (torch.tensor(list(text.encode("ascii", "ignore"))) for text in texts)
    return first, second


def accuracy_and_loss(net: nn.Module, ids: torch.Tensor) -> tuple[float, float]:
    """Accuracy of the next byte and nats per byte on held-out text."""
    hits, nats = [], []
    with torch.no_grad():
        for index in range(BATCHES):
            starts = torch.arange(32) * LENGTH + index * 32 * LENGTH
            batch = make_batch(ids, starts % (len(ids) - LENGTH - 1))
            logits, target = net(*batch.inputs.values()).flatten(0, 1), batch.targets["target"].flatten()
            hits.append(float((logits.argmax(1) == target).float().mean()))
            nats.append(float(F.cross_entropy(logits, target)))
    return float(np.mean(hits)), float(np.mean(nats))


def run_seed(seed: int, steps: int, further: int) -> dict[str, tuple[float, float]]:
    """Accuracy on both domains by network."""
    parts = [(ids[: len(ids) * 9 // 10], ids[len(ids) * 9 // 10 :]) for ids in domains()]
    shape = (BATCH, "sequence")
    inputs = tuple(
        TensorSpec(name=name, dtype="int64", shape=shape, values=(0, most))
        for name, most in (("input_ids", BYTES - 1), ("attention_mask", 1))
    )
    spec = TASK.complete_spec(NetworkSpec(signature=Signature(inputs=inputs, sizes={"sequence": AxisSizes(1, LENGTH, LENGTH)})))
    base = build_model(ModelSettings(source="decoder:tiny", args=dict(SIZES)), spec, seed=seed, base=None, task=TASK).module
    least = min(len(train_ids) for train_ids, _ in parts)
    train(base, torch.cat([train_ids[:least] for train_ids, _ in parts]), steps, 3e-3, seed)
    tuned = []
    for train_ids, _ in parts:
        network = copy.deepcopy(base)
        train(network, train_ids, further, 1e-3, seed + 1)
        tuned.append(network)
    tests = [test for _, test in parts]
    networks = {"before fine-tuning": base, "fine-tuned on help": tuned[0], "fine-tuned on code": tuned[1]}
    examples = torch.cat([train_ids[: 5 * LENGTH * 32] for train_ids, _ in parts])  # as many of both
    losses = [accuracy_and_loss(network, examples)[1] for network in tuned]
    for name, method in METHODS.items():
        shares = method.shares(losses) if method.weighs_by_loss else (0.5, 0.5)
        merged = copy.deepcopy(base)
        weights = method.merge([float_tensors(network) for network in tuned], float_tensors(base), shares, seed)
        merged.load_state_dict(merged.state_dict() | weights)
        networks[name] = merged
    return {name: tuple(accuracy_and_loss(network, test)[0] for test in tests) for name, network in networks.items()}  # type: ignore[misc]


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--further", type=int, default=150)
    arguments = parser.parse_args()
    seeds = [run_seed(int(seed), arguments.steps, arguments.further) for seed in arguments.seeds.split(",")]
    print(
        "| network | accuracy on help | accuracy on code | kept of help, least of the seeds | kept of code |\n"
        "|---|---|---|---|---|"
    )
    for name in seeds[0]:
        values = np.array([each[name] for each in seeds])
        best = np.array([[each["fine-tuned on help"][0], each["fine-tuned on code"][1]] for each in seeds])
        kept = values / best
        cells = [f"{values[:, place].mean():.1%}" for place in (0, 1)]
        cells += [f"{kept[:, place].mean():.1%} ({kept[:, place].min():.1%})" for place in (0, 1)]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
