"""`infer.py` of an artifact with past keys and values, which imports numpy, onnxruntime and tokenizers alone."""

from __future__ import annotations

import json

from compress.core.network_spec import NetworkSpec

SOURCE = '''"""Continue a text with the likeliest tokens:  python infer.py "A text" [MOST_TOKENS]

Needs: pip install numpy onnxruntime tokenizers; with chat_template.jinja beside also jinja2: the text is then a message.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported
import onnxruntime
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

HERE = Path(__file__).resolve().parent
MODEL = json.loads((HERE / "genai_config.json").read_text(encoding="utf-8"))["model"]
STOPS = set(MODEL["eos_token_id"])
BEFORE, AFTER = TEXT_AROUND_A_PROMPT


def prompt_tokens(text, tokenizer):
    """Token numbers of a text, or of a message with the chat template."""
    template = HERE / "chat_template.jinja"
    if template.is_file():
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        messages = [{"role": "user", "content": text}]
        source = environment.from_string(template.read_text(encoding="utf-8"))
        text = source.render(messages=messages, add_generation_prompt=True)
    else:
        text = BEFORE + text + ("" if AFTER == "\\n" and text[-1:].isspace() else AFTER)
    tokens = tokenizer.encode(text, add_special_tokens=not template.is_file()).ids
    while tokens and tokens[-1] in STOPS and not template.is_file():
        tokens = tokens[:-1]  # a tokenizer may end each text
    return tokens


def generate(text, most=128, threads=1):
    """Pieces of the text that follows; keys and values of each token are computed once."""
    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(HERE / "model.onnx"), options, providers=["CPUExecutionProvider"])
    tokens, context = prompt_tokens(text, tokenizer), MODEL["context_length"]
    if not 0 < len(tokens) <= context:
        sys.exit(f"the text has {len(tokens)} tokens; give 1 to {context}")
    value, outputs = onnxruntime.OrtValue.ortvalue_from_numpy, [each.name for each in session.get_outputs()]
    inputs, kinds = {each.name: each for each in session.get_inputs()}, {"tensor(int8)": "i1", "tensor(uint8)": "u1"}
    zeros = {k: np.zeros((1, x.shape[1], 0, x.shape[3]), kinds.get(x.type, "f4")) for k, x in inputs.items() if "past" in k}
    past, stream, seen = {name: value(array) for name, array in zeros.items()}, DecodeStream(skip_special_tokens=True), 0
    for _ in range(min(most, context - len(tokens) + 1)):
        total = seen + len(tokens)
        feeds = {
            "input_ids": np.array([tokens], np.int64),
            "attention_mask": np.ones((1, total), np.int64),
            "position_ids": np.arange(seen, total, dtype=np.int64)[None],
        }
        feeds = {name: value(array) for name, array in feeds.items() if name in inputs}
        logits, *present = session.run_with_ort_values(outputs, {**feeds, **past})
        past, seen = dict(zip(past, present)), total
        token = int(logits.numpy()[0, -1].argmax())
        if token in STOPS:
            return
        yield stream.step(tokenizer, token) or ""
        tokens = [token]


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    for piece in generate(sys.argv[1], *map(int, sys.argv[2:])):
        print(piece, end="", flush=True)
    print()
'''


def decoder_script(spec: NetworkSpec) -> str:
    """Python source of `infer.py` for `model.onnx`, `genai_config.json` and `tokenizer.json` in the same folder.

    Args:
        spec: Of the network; text around a prompt is part of the script.
    """
    before, after = (spec.text.prompt if spec.text is not None else None) or ("", "")
    return SOURCE.replace("TEXT_AROUND_A_PROMPT", f"{json.dumps(before)}, {json.dumps(after)}")
