"""Half of the weights of a pretrained language model, without training: Wanda and SparseGPT against magnitude, and 2:4.

    python tests/benchmarks/bench_language_sparsity.py FOLDER [--calibration 32] [--length 256]

FOLDER is a Hugging Face folder of a causal language model with its tokenizer. Perplexity is of a token of the last tenth of
the documentation of Python, in blocks; samples for the scores are drawn from the rest. Embedding and head stay dense.
"""

from __future__ import annotations

import argparse
import json
import math
import pydoc_data.topics
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from compress.core.network_spec import NetworkSpec
from compress.core.signature import BATCH, AxisSizes, Signature, TensorSpec
from compress.data.batch import Batch
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.prune.base import Constraints
from compress.prune.criteria import ScoringData, magnitude, sparsegpt, wanda
from compress.prune.unstructured.n_m import NMPruner
from compress.prune.unstructured.weights import UnstructuredPruner
from compress.tasks.text.causal_language_model import CausalLanguageModel

TASK = CausalLanguageModel()
SIZE = 8
"""Blocks of a batch."""


def read_blocks(folder: Path, length: int) -> tuple[Tensor, Tensor]:
    """Blocks of tokens to draw samples from, and those of the last tenth of the text, int64 (N, length + 1)."""
    text = "\n".join(pydoc_data.topics.topics.values())
    tokens = torch.tensor(Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids)
    blocks = tokens[: len(tokens) // (length + 1) * (length + 1)].view(-1, length + 1)
    cut = len(blocks) * 9 // 10
    return blocks[:cut], blocks[cut:]


def batch_of(rows: Tensor) -> Batch:
    """The tokens of blocks, each with the next one as target."""
    ids = rows[:, :-1].contiguous()
    return Batch({"input_ids": ids, "attention_mask": torch.ones_like(ids)}, {"target": rows[:, 1:].contiguous()})


@torch.no_grad()
def perplexity(net: nn.Module, blocks: Tensor) -> float:
    """e to the mean cross-entropy of a token."""
    total, count = 0.0, 0
    for rows in blocks.split(SIZE):
        batch = batch_of(rows)
        target = batch.targets["target"].flatten()
        total += float(F.cross_entropy(net(*batch.inputs.values()).flatten(0, 1), target, reduction="sum"))
        count += len(target)
    return math.exp(total / count)


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--calibration", type=int, default=32)
    parser.add_argument("--length", type=int, default=256)
    arguments = parser.parse_args()
    blocks, test = read_blocks(arguments.folder, arguments.length)
    chosen = torch.randperm(len(blocks), generator=torch.Generator().manual_seed(0))[: arguments.calibration]
    data = ScoringData([batch_of(rows) for rows in blocks[chosen].split(SIZE)], TASK)
    vocabulary = json.loads((arguments.folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    inputs = tuple(
        TensorSpec(name=name, dtype="int64", shape=(BATCH, "sequence"), values=values)
        for name, values in (("input_ids", (0, vocabulary - 1)), ("attention_mask", (1, 1)))
    )
    sizes = {"sequence": AxisSizes(1, arguments.length, arguments.length)}
    spec = TASK.complete_spec(NetworkSpec(signature=Signature(inputs=inputs, sizes=sizes)))
    settings = ModelSettings(source=f"hf:{arguments.folder.resolve()}")
    net = build_model(settings, spec, seed=0, base=Path(), task=TASK).module.eval()
    dense = perplexity(net, test)
    print(f"dense: {dense:.3f} on {test.numel()} tokens, {arguments.calibration} blocks of {arguments.length} for the scores")
    cases = (("magnitude", magnitude, "local"), ("Wanda", wanda, "row"), ("SparseGPT", sparsegpt, "local"))
    for name, criterion, ranking in cases:
        for pattern in ("half", "2:4"):
            start, importance = time.perf_counter(), criterion()
            importance.collect(net, data)
            if pattern == "half":
                limits = Constraints(max_ratio=0.99)
                pruner = UnstructuredPruner(net, spec, measure="sparsity", ranking=ranking, limits=limits)
            else:
                pruner = NMPruner(net, spec, limits=Constraints(max_ratio=1.0))
            found = perplexity(pruner.prune(net, 0.5, importance).module, test)
            print(f"{name}, {pattern}: {found:.3f}, rise {found - dense:.3f}, {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
