"""A decoder of 135 M parameters in integers: speed, size, perplexity and changed tokens, beside other tools.

    python tests/benchmarks/bench_language_int4.py FOLDER [quality speed serving greedy] --work DIR

`FOLDER` is SmolLM2-135M-Instruct as a folder of transformers, made from a 4-bit file (Q4_1): its matrices lie on a grid of 16
values for each 32 inputs. The channels are put into random order first (`permuted_channels`), which changes no answer, so that
no block fits the grid. Texts are from the documentation of Python. One thread. Results are kept in `DIR`, a JSON file for each
part.
"""

from __future__ import annotations

import argparse
import json
import math
import pydoc_data.topics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from compress.backends.decoder.session import DecoderSession
from compress.backends.export_onnx import export_onnx
from compress.core.network_spec import NetworkSpec
from compress.core.signature import BATCH, AxisSizes, Signature, TensorSpec
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.profile.generation.serving_mix import mix_speedup, time_mix
from compress.tasks.text.causal_language_model import CausalLanguageModel
from tests.benchmarks.language_int4_files import (
    DYNAMIC,
    FLOAT,
    INT4,
    INT8,
    MIXED,
    NNCF,
    OpenVinoDecoder,
    OrtDecoder,
    our_files,
    peer_files,
)
from tests.benchmarks.permuted_channels import permute_channels

LENGTH, TEXTS, CALIBRATION, SEED = 256, 24, 64, 0
"""Tokens of a text, texts of the test, texts for GPTQ, and the seed of the bootstrap over texts."""
CONTEXT, STEPS, ROUNDS = 128, 24, 5
PROMPTS, ANSWER = 200, 8
MIXES = ((512, 8), (16, 256))
TASK = CausalLanguageModel()
Decoder = OrtDecoder | OpenVinoDecoder


def spec_of(vocabulary: int, most: int) -> NetworkSpec:
    """Inputs of the network."""
    shape = (BATCH, "sequence")
    inputs = (
        TensorSpec(name="input_ids", dtype="int64", shape=shape, values=(0, vocabulary - 1)),
        TensorSpec(name="attention_mask", dtype="int64", shape=shape, values=(1, 1)),
    )
    signature = Signature(inputs=inputs, sizes={"sequence": AxisSizes(1, 64, most)})
    return TASK.complete_spec(NetworkSpec(signature=signature))


def open_decoder(name: str, path: Path) -> Decoder:
    """A session of a file for texts of up to 512 tokens."""
    return OpenVinoDecoder(path) if name == NNCF else OrtDecoder(path, 512, width=64, groups=3)


def measure_quality(files: Mapping[str, Path], ids: np.ndarray) -> dict[str, dict[str, float]]:
    """Perplexity and agreement of the likeliest tokens with the float network, on texts that are read at once."""
    texts = [ids[-(index + 1) * LENGTH - 1 :][: LENGTH + 1] for index in range(TEXTS)]
    found: dict[str, dict[str, float]] = {}
    reference, floats = np.zeros(0), np.zeros(0)
    draws = np.random.default_rng(SEED).integers(TEXTS, size=(2000, TEXTS))
    for name, path in files.items():
        decoder, losses, tokens = open_decoder(name, path), [], []
        for text in texts:
            decoder.start()
            z = torch.from_numpy(decoder.read(text[:-1].tolist())).double()
            losses.append(float(torch.nn.functional.cross_entropy(z, torch.from_numpy(text[1:]))))
            tokens.append(z.argmax(1).numpy())
        likeliest, by_text = np.stack(tokens), np.array(losses)
        reference, floats = (likeliest, by_text) if name == FLOAT else (reference, floats)
        parts = (path, *path.parent.glob(f"{path.stem}.bin"), *path.parent.glob(f"{path.name}.data"))
        equal, rises = (likeliest == reference).mean(1), np.exp((by_text - floats)[draws].mean(1)) - 1
        found[name] = {
            "perplexity": math.exp(by_text.mean()),
            "rise": math.exp((by_text - floats).mean()) - 1,
            "rise_low": float(np.quantile(rises, 0.025)),
            "rise_high": float(np.quantile(rises, 0.975)),
            "agreement": float(equal.mean()),
            "agreement_low": float(np.quantile(equal[draws].mean(1), 0.025)),
            "agreement_high": float(np.quantile(equal[draws].mean(1), 0.975)),
            "size_mb": sum(part.stat().st_size for part in parts if part.exists()) / 1e6,
        }
        print(name, found[name], flush=True)
    return found


def measure_speed(files: Mapping[str, Path]) -> dict[str, dict[str, list[float]]]:
    """Times of a prompt of `CONTEXT` tokens and of a further token, ms, in turns; the first round is not counted."""
    decoders = {name: open_decoder(name, path) for name, path in files.items()}
    times: dict[str, dict[str, list[float]]] = {name: {"prompt": [], "token": []} for name in decoders}
    for _ in range(ROUNDS + 1):
        for name, decoder in decoders.items():
            decoder.start()
            start = time.perf_counter()
            decoder.read([5] * CONTEXT)
            times[name]["prompt"].append(1000 * (time.perf_counter() - start))
            tokens = []
            for _ in range(STEPS):
                start = time.perf_counter()
                decoder.read([7])
                tokens.append(1000 * (time.perf_counter() - start))
            times[name]["token"].append(float(np.median(tokens)))
    return {name: {part: values[1:] for part, values in each.items()} for name, each in times.items()}


def measure_serving(files: Mapping[str, Path]) -> dict[str, object]:
    """Time of requests of the schemes, and which is the fastest, for two mixes of prompt and answer."""
    chosen = {name: path for name, path in files.items() if name in (FLOAT, DYNAMIC, INT4, MIXED, INT8)}
    found: dict[str, object] = {}
    for prompt, answer in MIXES:
        times = time_mix(chosen, prompt, answer)
        rows = {name: {key: quantity.value for key, quantity in each.quantities().items()} for name, each in times.items()}
        for name, row in rows.items():
            gain = mix_speedup(times[FLOAT], times[name])
            row |= {"speedup": gain.value, "low": gain.low, "high": gain.high}
        fastest = min(rows, key=lambda name: rows[name]["request_ms"] or math.inf)
        found[f"{prompt} in, {answer} out"] = {"rows": rows, "fastest": fastest}
    return found


@torch.no_grad()
def measure_greedy(folder: Path, network: torch.nn.Module, path: Path, prompts: list[list[int]]) -> dict[str, int]:
    """Texts whose greedy tokens are equal: torch, ONNX Runtime with a cache, onnxruntime-genai on the same file."""
    import onnxruntime_genai as genai

    decoder, equal, tokens_equal = DecoderSession(path), {"onnxruntime": 0, "genai": 0}, {"onnxruntime": 0, "genai": 0}
    model = genai.Model(str(folder))
    for prompt in prompts:
        text = list(prompt)
        for _ in range(ANSWER):
            ids = torch.tensor([text])
            text.append(int(network(ids, torch.ones_like(ids))[0, -1].argmax()))
        expected = text[len(prompt) :]
        decoder.start()
        own = [int(decoder.read(prompt)[-1].argmax())]
        while len(own) < ANSWER:
            own.append(int(decoder.read(own[-1:])[-1].argmax()))
        parameters = genai.GeneratorParams(model)
        parameters.set_search_options(max_length=len(prompt) + ANSWER, do_sample=False)
        generator = genai.Generator(model, parameters)
        generator.append_tokens(prompt)
        theirs: list[int] = []
        while len(theirs) < ANSWER:
            generator.generate_next_token()
            theirs.append(int(generator.get_next_tokens()[0]))
        for name, found in (("onnxruntime", own), ("genai", theirs)):
            equal[name] += found == expected
            tokens_equal[name] += sum(a == b for a, b in zip(found, expected, strict=True))
    return {"prompts": len(prompts), "tokens": len(prompts) * ANSWER} | {
        f"{name}_{kind}": counts[name] for name in equal for kind, counts in (("texts", equal), ("tokens", tokens_equal))
    }


def kept(path: Path, measure: Callable[[], object]) -> object:
    """The result in a file, which is measured and written if it is not there."""
    if not path.exists():
        path.write_text(json.dumps(measure(), indent=1))
    return json.loads(path.read_text())


def prompts_of(tokenizer: Tokenizer) -> list[list[int]]:
    """Titles of the documentation as questions, in the chat format of the network."""
    around = "<|im_start|>user\nWhat does Python's documentation say about {title}?<|im_end|>\n<|im_start|>assistant\n"
    titles = sorted(pydoc_data.topics.topics)
    questions = [f"{title} ({number})" if number else title for number in range(4) for title in titles][:PROMPTS]
    return [tokenizer.encode(around.format(title=title)).ids for title in questions]


def genai_folder(work: Path, source: Path, spec: NetworkSpec, folder: Path) -> Path:
    """The float file with what onnxruntime-genai needs beside it."""
    from compress.backends.decoder.key_value_cache import read_layout
    from compress.export.genai_config import genai_config

    target = work / "greedy"
    target.mkdir(exist_ok=True)
    layout = read_layout(source)
    assert layout is not None
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (target / name).write_bytes((folder / name).read_bytes())
    if not (target / "model.onnx").exists():
        (target / "model.onnx").hardlink_to(work / "float.onnx")
    (target / "genai_config.json").write_text(genai_config(layout, target / "model.onnx", (2,), spec))
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("parts", nargs="*", default=["quality", "speed", "serving", "greedy"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(arguments.folder / "tokenizer.json"))
    folder = work / "permuted"
    if not folder.exists():
        permute_channels(arguments.folder, folder)
    ids = np.array(tokenizer.encode("\n".join(pydoc_data.topics.topics.values())).ids)
    spec = spec_of(tokenizer.get_vocab_size(), 512)
    source = work / "source.onnx"
    settings = ModelSettings(source=f"hf:{folder}")
    if not source.exists():
        export_onnx(build_model(settings, spec, seed=0, base=Path(), task=TASK).module.eval(), spec, source)
    starts = range(0, CALIBRATION * 6, 6)
    batches = [
        {"input_ids": ids[None, LENGTH * at : LENGTH * (at + 1)], "attention_mask": np.ones((1, LENGTH), np.int64)}
        for at in starts
    ]
    files = our_files(source, batches, work) | peer_files(work, folder)

    def greedy() -> object:
        network = build_model(settings, spec, seed=0, base=Path(), task=TASK).module.eval()
        target = genai_folder(work, source, spec, folder)
        return measure_greedy(target, network, work / "float.onnx", prompts_of(tokenizer))

    parts: dict[str, Callable[[], object]] = {
        "quality": lambda: measure_quality(files, ids),
        "speed": lambda: measure_speed(files),
        "serving": lambda: measure_serving(files),
        "greedy": greedy,
    }
    results = {part: kept(work / f"{part}.json", parts[part]) for part in arguments.parts}
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
