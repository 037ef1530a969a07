"""Whisper tiny.en as a file: texts of recorded prompts by torch and by the exported files in float and int8.

    python tests/benchmarks/bench_speech_seq2seq.py PROMPTS WHISPER --out DIR [--clips 60] [--page reports/benchmarks/speech.md]

PROMPTS is the folder of the unpacked Debian packages `asterisk-core-sounds-en` and `-en-wav` (CC-BY-SA-3.0), WHISPER a folder
of transformers with Whisper tiny.en and its tokenizer. Nothing is trained. Texts are compared after Whisper's own normaliser.
Prints a Markdown section, and with `--page` puts it in place of the section of that page.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from compress.backends import onnx_files, onnx_graph
from compress.backends.decoder.response_files import write_parts
from compress.backends.decoder.response_session import ResponseSession
from compress.backends.export_onnx import export_onnx
from compress.config.devices import host
from compress.core.format_quantity import format_value
from compress.core.network_spec import NetworkSpec
from compress.core.preprocessing import WrittenTokens
from compress.core.record import Quantity
from compress.data.audio.settings import AudioSettings
from compress.data.batch import TARGET, Batch
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.text.settings import DECODER_IDS
from compress.models.audio.whisper_text import WhisperText
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.quantize.schemes import SchemeOptions, build_models
from compress.tasks.audio.speech_seq2seq import WRITTEN, SpeechSeq2Seq
from compress.tasks.metric import Scores
from compress.tasks.metric_quantity import estimate, gain_of
from tests.benchmarks.recorded_prompts import write_manifest
from tests.benchmarks.vision_table import replace_section

HEADING = "## Whisper tiny.en: encoder and decoder as files"
RATE, MOST_S, MOST_TOKENS = 16_000, 8.0, 64
TASK = SpeechSeq2Seq("english")
GOAL_POINTS, GOAL_RTF = 0.2, 0.2


class Heard(NamedTuple):
    """Tokens that were written for each clip, and the seconds that each took."""

    tokens: list[list[int]]
    seconds: list[float]


def padded(tokens: Sequence[Sequence[int]], end: int) -> torch.Tensor:
    """Texts with the end after each, int64 (N, T)."""
    most = max(len(each) for each in tokens) + 1
    return torch.tensor([[*each, *[end] * (most - len(each))] for each in tokens])


def by_module(module: WhisperText, batches: Sequence[Batch], written: WrittenTokens) -> Heard:
    """The likeliest tokens by torch, with its own keys and values."""
    heard = Heard([], [])
    for batch in batches:
        begin = time.perf_counter()
        with torch.no_grad():
            prompt, token = module.read_prompt(batch.inputs["audio"], batch.inputs["attention_mask"])
            text: list[int] = []
            for given in written.prefix[1:]:
                _, prompt = module.write(token, prompt)
                token = torch.tensor([[given]])
            while len(text) + len(written.prefix) < written.most:
                logits, prompt = module.write(token, prompt)
                token = logits.argmax(dim=1)[:, None]
                if int(token) == written.end:
                    break
                text.append(int(token))
        heard.seconds.append(time.perf_counter() - begin)
        heard.tokens.append(text)
    return heard


def by_files(session: ResponseSession, batch: Batch, written: WrittenTokens) -> tuple[list[int], float]:
    """The likeliest tokens of a clip by encoder and decoder as files, and the seconds that they took."""
    begin = time.perf_counter()
    session.read_inputs({name: values.numpy() for name, values in batch.inputs.items() if name != DECODER_IDS})
    text: list[int] = []
    for given in written.prefix:
        logits = session.read([given])
    while len(text) + len(written.prefix) < written.most:
        token = int(logits[-1].argmax())
        if token == written.end:
            break
        text.append(token)
        logits = session.read([token])
    return text, time.perf_counter() - begin


def write_files(module: WhisperText, spec: NetworkSpec, out: Path, name: str, exclude: str | None) -> Path:
    """Encoder and decoder in a folder; dynamic int8 where `exclude` is a part of names that stay in float, or empty."""
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    whole = out / "model.onnx"
    if not whole.exists():
        export_onnx(module, spec, whole)
    if exclude is not None:
        graph = onnx_graph.to_ir(onnx_files.load(whole))
        kept = tuple(str(node.name) for node in graph.graph if exclude and exclude in str(node.name))
        model = build_models("dynamic_int8", graph, ("onnxruntime",), SchemeOptions(exclude=kept)).models["onnxruntime"]
        metadata = {entry.key: entry.value for entry in onnx_files.load(whole).metadata_props}
        del model.metadata_props[:]
        for key, value in metadata.items():
            model.metadata_props.add(key=key, value=value)
        whole = folder / "model.onnx"
        onnx_files.save(model, whole)
    if write_parts(whole, folder) is None:
        raise SystemExit(f"the decoder of {name} keeps no keys and values")
    return folder


def interval(quantity: Quantity) -> str:
    """A value with its interval."""
    low, value, high = (
        format_value(each, quantity.unit) if each is not None else "—" for each in (quantity.low, quantity.value, quantity.high)
    )
    return f"{value} ({low} to {high})"


def size(folder: Path) -> float:
    """Megabytes of encoder and decoder."""
    return sum((folder / f"{name}.onnx").stat().st_size for name in ("encoder", "decoder")) / 1e6


def section(clips: int, seconds: Sequence[float], rows: Mapping[str, Heard], sizes: Mapping[str, float],
            scores: Mapping[str, dict[str, Scores]], metrics: Sequence[object]) -> str:  # fmt: skip
    """The section of the page."""
    lines = [
        HEADING,
        "",
        f"{clips} recorded prompts of the test split, {sum(seconds) / 60:.1f} min, one speaker, 8 kHz resampled to 16 kHz, "
        "each of at most "
        f"{MOST_S:g} s. Nothing is trained. Greedy texts; words are compared after Whisper's own normaliser. The log-mel "
        "features are inside of the "
        f"encoder file, whose window is 30 s for each clip. One thread of {host().hardware.cpu}, load average "
        f"{os.getloadavg()[0]:.0f} by other "
        "programs; files timed in turns, clip by clip.",
        "",
        "| network | encoder and decoder | WER | CER | seconds per clip, median | real-time factor |",
        "|---|---|---|---|---|---|",
    ]
    for name, heard in rows.items():
        wer, cer = (interval(estimate(metric, scores[name][metric.info.name], "")) for metric in metrics)  # type: ignore[attr-defined, arg-type]
        factor = sum(heard.seconds) / sum(seconds)
        lines.append(f"| {name} | {sizes[name]:.1f} MB | {wer} | {cer} | {np.median(heard.seconds):.2f} s | {factor:.2f} |")
    names = [*rows]
    same = sum(first == second for first, second in zip(rows[names[0]].tokens, rows[names[1]].tokens, strict=True))
    lines += ["", f"Float files against torch: {same} of {clips} texts have the same tokens."]
    for name in names[2:]:
        gain = gain_of(metrics[0], scores[names[1]]["wer"], scores[name]["wer"], "float")  # type: ignore[arg-type]
        value, low, high = (-100 * (each or 0.0) for each in (gain.value, gain.high, gain.low))
        met = (
            "met"
            if high <= GOAL_POINTS
            else "met, but its interval reaches across it: not shown"
            if value <= GOAL_POINTS
            else "missed"
        )
        ratios = [first / second for first, second in zip(rows[names[1]].seconds, rows[name].seconds, strict=True)]
        factor = sum(rows[name].seconds) / sum(seconds)
        same = sum(first == second for first, second in zip(rows[names[1]].tokens, rows[name].tokens, strict=True))
        lines += [
            "",
            f"{name}, against the float files: WER {value:+.2f} points (paired 95 % interval {low:+.2f} to {high:+.2f}), "
            "goal at most "
            f"{GOAL_POINTS:g}: **{met}**; {same} of {clips} texts with the same tokens; ÷ "
            f"{sizes[names[1]] / sizes[name]:.2f} in size, "
            f"÷ {np.median(ratios):.2f} in time (median over clips). Real-time factor {factor:.2f}, goal {GOAL_RTF:g}: "
            f"**{'met' if factor <= GOAL_RTF else 'missed'}** at this load.",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Export, quantize, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", type=Path)
    parser.add_argument("whisper", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--page", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    write_manifest(arguments.prompts, arguments.out / "prompts", 0)
    audio = AudioSettings(rate=RATE, typical=3.0, most=MOST_S, most_tokens=MOST_TOKENS, targets="tokens")
    source = f"audio_manifest:{(arguments.out / 'prompts').resolve()}"
    settings = DataSettings(
        source=source, audio=audio, evaluation_limit=arguments.clips, tokenizer=str(arguments.whisper.resolve())
    )
    data = load_data(settings, base=Path())
    spec = TASK.complete_spec(data.spec)
    task = TASK.for_spec(spec)
    model = ModelSettings(source=f"hf:{arguments.whisper.resolve()}")
    module: nn.Module = build_model(model, spec, seed=0, base=Path(), task=TASK).module.eval()
    assert isinstance(module, WhisperText)
    assert task.tokens is not None
    batches = list(data.test.ordered(1))
    folders = {
        "files, float": write_files(module, spec, arguments.out, "float", None),
        "files, dynamic int8": write_files(module, spec, arguments.out, "int8", ""),
        "files, dynamic int8, table and head in float": write_files(module, spec, arguments.out, "int8_layers", "proj_out"),
        "files, dynamic int8, decoder in float": write_files(module, spec, arguments.out, "int8_encoder", "decoder"),
    }
    rows = {"torch": by_module(module, batches, task.tokens)} | {name: Heard([], []) for name in folders}
    sessions = {name: ResponseSession(folder, context=MOST_TOKENS) for name, folder in folders.items()}
    for batch in batches:
        for name, session in sessions.items():
            text, seconds = by_files(session, batch, task.tokens)
            rows[name].tokens.append(text)
            rows[name].seconds.append(seconds)
    parameters = sum(each.numel() * each.element_size() for each in module.parameters()) / 1e6
    sizes = {"torch": parameters} | {name: size(folder) for name, folder in folders.items()}
    targets = [each.targets[TARGET][0].tolist() for each in batches]
    most = max(map(len, targets))
    target = torch.tensor([[*each, *[-100] * (most - len(each))] for each in targets])
    metrics = task.metrics[:2]
    scores = {
        name: {
            key: values.numpy()
            for key, values in task.scores({WRITTEN: padded(heard.tokens, task.tokens.end)}, {TARGET: target}, metrics).items()
        }
        for name, heard in rows.items()
    }
    lengths = [int(batch.inputs["attention_mask"].sum()) / RATE for batch in batches]
    text = section(len(batches), lengths, rows, sizes, scores, metrics)
    print(text)
    if arguments.page:
        replace_section(arguments.page, text)


if __name__ == "__main__":
    main()
