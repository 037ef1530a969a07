"""Speculative decoding: acceptance before and after online updates on a shifted domain, identical texts, and speed.

    python -m compress pipeline llm_moe_to_dense.yaml --out RUNS
    python tests/benchmarks/bench_language_speculative.py --run RUNS/llm_moe_to_dense/HASH --work DIR [--part large|time]

The target is the dense student of that run, which writes summaries of functions. The draft (1 layer of width 64) is distilled
from it on lines of the topics of Python's help, and then serves the definitions of functions, a domain that it has not seen.
The second target, of the part `large`, has 8 layers of width 512 and random weights: its texts mean nothing, it shows the times
of a larger network. `learn` and `large` write files to DIR, `time` times them.
"""

from __future__ import annotations

import argparse
import copy
import json
import pydoc_data.topics
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import nn

from compress.backends.decoder.key_value_cache import write_cached
from compress.backends.decoder.session import DecoderSession
from compress.backends.decoder.speculative import SpeculativeDecoder
from compress.backends.export_onnx import export_onnx
from compress.config import recipe as recipes
from compress.core.network_spec import NetworkSpec
from compress.data.factory import load_data
from compress.distill.losses.token_divergence import token_divergence
from compress.distill.speculative.compare_speed import compare_speed
from compress.distill.speculative.module_session import ModuleSession
from compress.distill.speculative.online_updates import serve_and_learn
from compress.distill.speculative.requests import Acceptance, request_prompts, serve
from compress.distill.speculative.stage import OnlineUpdates
from compress.distill.speculative.step_times import measure_steps
from compress.models.factory import build_model
from compress.models.saved_network import load, read_description
from compress.models.settings import ModelSettings
from compress.pipeline.task_data import data_for_task
from compress.tasks.text.causal_language_model import CausalLanguageModel

TASK, K, MOST, HELD_OUT, SERVED, STEPS = CausalLanguageModel(), 4, 40, 40, 160, 300
DRAFT = {"layers": 1, "width": 64, "heads": 2, "key_value_heads": 1, "feed_forward": 128}
PAPER = {"steps": 4, "lr": 2e-3}
ALL = {**PAPER, "accepted_weight": 1.0}
REMEDIES = {
    "refused positions": PAPER,
    "refused positions, 32 steps": {**PAPER, "steps": 32},
    "all positions, 32 steps, replay": {**ALL, "steps": 32, "buffer": 512},
    "the same, total variation": {**ALL, "steps": 32, "buffer": 512, "divergence": "total_variation"},
}
"""Settings of the updates; the last ones of them are written."""
LARGE = {"layers": 8, "width": 512, "heads": 8, "key_value_heads": 4, "feed_forward": 1376}


def build(args: dict[str, int], spec: NetworkSpec, seed: int) -> nn.Module:
    """A decoder with new weights."""
    settings = ModelSettings(source="decoder:tiny", args=dict(args))
    return build_model(settings, spec, seed=seed, base=Path(), task=TASK).module


def topic_prompts(run: Path, count: int) -> list[list[int]]:
    """The first tokens of lines of Python's help."""
    tokenizer = Tokenizer.from_file(str(next(run.glob("artifacts/*/tokenizer.json"))))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    lines = [line.strip() for text in pydoc_data.topics.topics.values() for line in text.splitlines()]
    long = [line for line in lines if len(line.split()) >= 8]
    chosen = long[:: max(1, len(long) // count)][:count]
    return [tokenizer.encode(line, add_special_tokens=False).ids[:48] for line in chosen]


def stops_of(run: Path) -> frozenset[int]:
    """Tokens that end a text."""
    config = json.loads(next(run.glob("artifacts/*/genai_config.json")).read_text(encoding="utf-8"))
    return frozenset(config["model"]["eos_token_id"])


def write(module: nn.Module, spec: NetworkSpec, path: Path, logits: str) -> None:
    """A file with past keys and values."""
    export_onnx(module, spec, path.with_suffix(".plain.onnx"))
    write_cached(path.with_suffix(".plain.onnx"), path, logits=logits)


def rate(target: DecoderSession, draft: nn.Module, prompts: list[list[int]], stops: frozenset[int]) -> Acceptance:
    """Acceptance of a draft on prompts."""
    acceptance = Acceptance()
    decoder = SpeculativeDecoder(target, ModuleSession(draft, target.context), K)
    for prompt in prompts:
        serve(decoder, prompt, most=MOST, stops=stops, acceptance=acceptance)
    return acceptance


def distil(draft: nn.Module, target: nn.Module, texts: list[list[int]], seed: int) -> None:
    """Forward divergence from the target on texts."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(draft.parameters(), 3e-3)
    for _ in range(STEPS):
        chosen = [texts[index] for index in torch.randint(len(texts), (32,), generator=generator).tolist()]
        longest = max(map(len, chosen))
        ids = torch.tensor([text + [0] * (longest - len(text)) for text in chosen])
        mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in chosen])
        with torch.no_grad():
            wanted = target(ids, mask)[mask.bool()]
        loss = token_divergence(draft(ids, mask)[mask.bool()], wanted, kind="forward").mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def learn(run: Path, work: Path, seed: int) -> None:
    """Distil a draft, let it serve, write files of both targets and their drafts, and print acceptance."""
    spec = read_description(run / "02-distill").spec
    target = load(run / "02-distill")
    loaded = recipes.load("llm_moe_to_dense")
    data = data_for_task(load_data(loaded.recipe.data, base=Path()), TASK)
    draft = build(DRAFT, spec, seed)
    lines_of_help = topic_prompts(run, 2000)
    distil(draft, target, lines_of_help[HELD_OUT:], seed)
    write(target, spec, work / "target.onnx", "all")
    held_out = request_prompts(data.validation, HELD_OUT, spec.signature.sizes["sequence"].most - MOST)
    served = request_prompts(data.train, SERVED, spec.signature.sizes["sequence"].most - MOST)
    session, stops = DecoderSession(work / "target.onnx"), stops_of(run)
    lines = {
        "its own domain": rate(session, draft, lines_of_help[:HELD_OUT], stops),
        "shifted domain, before": rate(session, draft, held_out, stops),
    }
    write(draft, spec, work / "draft_before.onnx", "last")
    for name, changes in REMEDIES.items():
        learner = copy.deepcopy(draft)
        online = OnlineUpdates(requests=SERVED, update_every=8, **changes)
        _, refused = serve_and_learn(session, learner, served, online, k=K, most=MOST, stops=stops)
        key = f"shifted domain, {name}"
        lines[key] = rate(session, learner, held_out, stops)
        print(f"{refused} refused positions in {len(served)} requests: {name}, then {lines[key].rate:.3f}", flush=True)
    write(learner, spec, work / "draft.onnx", "last")
    (work / "prompts.json").write_text(json.dumps(held_out))
    for name, found in lines.items():
        by_position = ", ".join(f"{row['rate']:.2f}" for row in found.rows())
        print(f"| {seed} | {name} | {found.rate:.3f} | {by_position} |", flush=True)


def learn_large(run: Path, work: Path) -> None:
    """The same for a large target with random weights, whose draft learns online alone."""
    spec = read_description(run / "02-distill").spec
    prompts = topic_prompts(run, 64)
    target, draft = build(LARGE, spec, 1), build(DRAFT, spec, 2)
    write(target, spec, work / "large.onnx", "all")
    session = DecoderSession(work / "large.onnx")
    before = rate(session, draft, prompts[:16], frozenset())
    online = OnlineUpdates(requests=48, update_every=8, steps=8, lr=3e-3)
    serve_and_learn(session, draft, prompts[16:], online, k=K, most=MOST, stops=())
    after = rate(session, draft, prompts[:16], frozenset())
    write(draft, spec, work / "large_draft.onnx", "last")
    print(
        f"| large | random weights, before | {before.rate:.3f} | |\n| large | random weights, after | {after.rate:.3f} | |",
        flush=True,
    )


def timed(work: Path, target: str, draft: str, count: int, stops: frozenset[int]) -> None:
    """Times of runs, the k that they choose, and measured speed and identity."""
    one, other = DecoderSession(work / target), DecoderSession(work / draft)
    prompts = json.loads((work / "prompts.json").read_text())[:count]
    acceptance = Acceptance()
    for prompt in prompts:
        serve(SpeculativeDecoder(one, other, 8), prompt, most=MOST, stops=stops, acceptance=acceptance)
    times = measure_steps(one, other, prompts[0] * 2, 8)
    k = times.best(acceptance.rate)
    speed = compare_speed(SpeculativeDecoder(one, other, k), prompts, most=MOST, stops=stops)
    runs = f"{times.draft * 1e3:.2f} / {times.target[0] * 1e3:.2f} / {times.target[k] * 1e3:.2f}"
    print(
        f"| {target} | {acceptance.rate:.3f} | {runs} | {k} | {times.speedup(acceptance.rate, k):.2f} | "
        f"{speed.ratio:.2f} ({speed.low:.2f}–{speed.high:.2f}) | {speed.identical} of {speed.texts} |",
        flush=True,
    )


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--part", choices=("learn", "large", "time"), default="learn")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.part == "learn":
        learn(arguments.run, arguments.work, arguments.seed)
    elif arguments.part == "large":
        learn_large(arguments.run, arguments.work)
    else:
        timed(arguments.work, "target.onnx", "draft.onnx", HELD_OUT, stops_of(arguments.run))
        timed(arguments.work, "target.onnx", "draft_before.onnx", HELD_OUT, stops_of(arguments.run))
        if (arguments.work / "large_draft.onnx").is_file():
            timed(arguments.work, "large.onnx", "large_draft.onnx", 16, frozenset())


if __name__ == "__main__":
    main()
