"""Pruning and 4-bit rounding of a toy decoder: Wanda and SparseGPT against magnitude, healed width cuts, four roundings.

    python tests/benchmarks/bench_language_prune.py [--steps 600]

The network is a toy: two layers of Llama's shape over the bytes of Python's documentation, trained here. Perplexity is of a
byte of the last tenth of the text, which no step sees. One seed.
"""

from __future__ import annotations

import argparse
import copy
import math
import pydoc_data.topics
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch.nn import functional as F

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.core.network_spec import NetworkSpec
from compress.core.signature import BATCH, AxisSizes, Signature, TensorSpec
from compress.data.batch import Batch
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.prune.base import Constraints
from compress.prune.criteria import ScoringData, magnitude, minitron, sparsegpt, wanda
from compress.prune.structured.channels import ChannelPruner
from compress.prune.structured.components import ComponentPruner
from compress.prune.unstructured.n_m import NMPruner
from compress.prune.unstructured.weights import UnstructuredPruner
from compress.quantize.schemes import SchemeOptions, build_models
from compress.tasks.text.causal_language_model import CausalLanguageModel

LENGTH, SIZE, LR = 64, 32, 3e-3
TASK = CausalLanguageModel()


def read_text() -> tuple[torch.Tensor, torch.Tensor, int]:
    """Byte numbers for training and for testing, and how many different bytes there are."""
    text = "\n".join(pydoc_data.topics.topics.values()).encode("ascii", "ignore")
    symbols = {byte: index for index, byte in enumerate(sorted(set(text)))}
    ids = torch.tensor([symbols[byte] for byte in text])
    cut = len(ids) * 9 // 10
    return ids[:cut], ids[cut : cut + 64 * LENGTH * 8], len(symbols)


def make_batch(ids: torch.Tensor, starts: torch.Tensor) -> Batch:
    rows = ids[starts[:, None] + torch.arange(LENGTH + 1)]
    inputs = {"input_ids": rows[:, :-1], "attention_mask": torch.ones_like(rows[:, :-1])}
    return Batch(inputs, {"target": rows[:, 1:]})


def train(net, ids, steps, lr, seed, teacher=None):
    """Cross-entropy, or half of it and half the divergence from a teacher; returns the tokens that it saw."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    net.train()
    for _ in range(steps):
        batch = make_batch(ids, torch.randint(0, len(ids) - LENGTH - 1, (SIZE,), generator=generator))
        logits = net(*batch.inputs.values()).flatten(0, 1)
        loss = F.cross_entropy(logits, batch.targets["target"].flatten())
        if teacher is not None:
            with torch.no_grad():
                wanted = teacher(*batch.inputs.values()).flatten(0, 1).log_softmax(-1)
            loss = (loss + F.kl_div(logits.log_softmax(-1), wanted, reduction="batchmean", log_target=True)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    net.eval()
    return steps * SIZE * LENGTH


def perplexity(run, ids):
    """e to the mean cross-entropy of a byte; `run` maps tokens and mask to logits."""
    total, count = 0.0, 0
    for start in range(0, len(ids) - SIZE * LENGTH - 1, SIZE * LENGTH):
        batch = make_batch(ids, start + torch.arange(SIZE) * LENGTH)
        with torch.no_grad():
            logits = torch.as_tensor(run(*batch.inputs.values()))
        total += float(F.cross_entropy(logits.flatten(0, 1), batch.targets["target"].flatten(), reduction="sum"))
        count += batch.targets["target"].numel()
    return math.exp(total / count)


def sparse_rows(net, spec, data, test):
    """Perplexity without training after half of the weights went."""
    rows = []
    cases = (("magnitude", magnitude(), "local"), ("Wanda", wanda(), "row"), ("SparseGPT", sparsegpt(), "local"))
    for name, importance, ranking in cases:
        importance.collect(net, data)
        pruner = UnstructuredPruner(net, spec, measure="sparsity", ranking=ranking, limits=Constraints(max_ratio=0.99))
        pattern = NMPruner(net, spec, limits=Constraints(max_ratio=1.0))
        found = [perplexity(cut.prune(net, 0.5, importance).module, test) for cut in (pruner, pattern)]
        rows.append((name, *found))
    return rows


def width_lines(net, spec, data, ids, test, steps, seen):
    """All widths cut by a quarter, and the hidden width alone by the same number of parameters; each healed by distillation."""
    importance = minitron()
    importance.collect(net, data)
    limits = Constraints(round_to=4, max_ratio=0.25)
    cut = ChannelPruner(net, spec, measure="params", ranking="local", limits=limits).prune(net, 0.5, importance).module
    dense = sum(p.numel() for p in net.parameters())
    kept = sum(p.numel() for p in cut.parameters()) / dense
    networks = {"all widths cut by a quarter": cut}
    for rotation in ("blocks", "common"):
        limits = Constraints(round_to=4, max_ratio=0.9)
        pruner = ComponentPruner(net, spec, scoring=data, rotation=rotation, measure="params", limits=limits)
        networks[f"components ({rotation})"] = pruner.prune(net, kept, importance).module
    limits = Constraints(round_to=4, max_ratio=0.9, protect=("*up_proj", "*gate_proj", "*q_proj", "*k_proj"))
    pruner = ChannelPruner(net, spec, measure="params", ranking="local", limits=limits)
    networks["hidden width by activations"] = pruner.prune(net, kept, importance).module
    lines = []
    for name, small in networks.items():
        before = perplexity(small, test)
        part = sum(p.numel() for p in small.parameters()) / dense
        healing = train(small, ids, steps, LR, 2, teacher=copy.deepcopy(net))
        width = small.network.lm_head.in_features
        lines.append(
            f"{name} (hidden width {width}, {part:.1%} of the parameters): {before:.3f}, healed on {healing / seen:.1%}: "
            f"{perplexity(small, test):.3f}"
        )
    return lines


def rounded_rows(net, spec, batches, test):
    """Perplexity of the file with 4-bit weights, in ONNX Runtime."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        export_onnx(net, spec, path)
        feeds = [{name: values.numpy() for name, values in batch.inputs.items()} for batch in batches]
        for block in (32, 128):
            for rounding in ("nearest", "k_quant", "gptq", "awq"):
                model = graphs.to_ir(onnx_files.load(path))
                options = SchemeOptions(block=block, rounding=rounding, batches=feeds)
                built = build_models("weight_int4", model, ("onnxruntime",), options).models["onnxruntime"]
                session = onnxruntime.InferenceSession(built.SerializeToString(), providers=["CPUExecutionProvider"])
                names = [entry.name for entry in session.get_inputs()]

                def run(*inputs, session=session, names=names):
                    every = dict(zip(("input_ids", "attention_mask"), (x.numpy() for x in inputs), strict=True))
                    return np.asarray(session.run(None, {name: every[name] for name in names})[0])

                rows.append((f"{rounding}, blocks of {block}", perplexity(run, test)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--widths", action="store_true", help="only the width cuts")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ids, test, vocabulary = read_text()
    shape = (BATCH, "sequence")
    inputs = (
        TensorSpec(name="input_ids", dtype="int64", shape=shape, values=(0, vocabulary - 1)),
        TensorSpec(name="attention_mask", dtype="int64", shape=shape, values=(1, 1)),
    )
    spec = TASK.complete_spec(NetworkSpec(signature=Signature(inputs=inputs, sizes={"sequence": AxisSizes(1, LENGTH, LENGTH)})))
    sizes = {"layers": 2, "width": 64, "heads": 4, "key_value_heads": 2, "feed_forward": 192}
    settings = ModelSettings(source="decoder:tiny", args=sizes)
    net = build_model(settings, spec, seed=0, base=Path(), task=TASK).module
    seen = train(net, ids, arguments.steps, LR, 0)
    dense = perplexity(net, test)
    generator = torch.Generator().manual_seed(1)
    batches = [make_batch(ids, torch.randint(0, len(ids) - LENGTH - 1, (SIZE,), generator=generator)) for _ in range(8)]
    data = ScoringData(batches, TASK)
    lines = [f"dense: perplexity {dense:.3f} after {seen} training tokens"]
    if not arguments.widths:
        lines += [f"{name}: 50 % {half:.3f}, 2:4 {pattern:.3f}" for name, half, pattern in sparse_rows(net, spec, data, test)]
    lines += width_lines(net, spec, data, ids, test, arguments.steps // 10, seen)
    if not arguments.widths:
        lines += [f"4 bits, {name}: {value:.3f}" for name, value in rounded_rows(net, spec, batches, test)]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
