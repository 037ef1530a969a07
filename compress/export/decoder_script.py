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
    options.intra_op_num_threads, options.log_severity_level = threads, 3
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

SINGLE = SOURCE[SOURCE.index("def generate(") : SOURCE.index("if __name__")]
PAIR = '''class Text:
    """One text in one session; keys and values of each token are computed once."""

    def __init__(self, path, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.names = [each.name for each in self.session.get_outputs()]
        self.shapes = {each.name: each.shape for each in self.session.get_inputs()}
        pasts = {name: shape for name, shape in self.shapes.items() if "past" in name}
        self.past = {name: np.zeros((1, shape[1], 0, shape[3]), np.float32) for name, shape in pasts.items()}
        self.tokens = []

    def likeliest(self, text, count):
        """Numbers of the likeliest tokens after each of the last ones of a text, of which earlier ones are kept."""
        self.tokens = self.tokens[: len(text) - count]
        seen, total = len(self.tokens), len(text)
        past = {name: values[:, :, :seen] for name, values in self.past.items()}
        feeds = {
            "input_ids": np.array([text[seen:]], np.int64),
            "attention_mask": np.ones((1, total), np.int64),
            "position_ids": np.arange(seen, total, dtype=np.int64)[None],
        }
        feeds = {name: array for name, array in feeds.items() if name in self.shapes}
        logits, *present = self.session.run(self.names, {**feeds, **past})
        self.past, self.tokens = dict(zip(past, present)), list(text)
        return logits[0, -count:].argmax(-1).tolist()


def generate(text, most=128, threads=1):
    """Pieces of the text that follows: the draft proposes k tokens, and the network takes those that are its likeliest."""
    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    k = json.loads((HERE / "speculative.json").read_text(encoding="utf-8"))["k"]
    target, draft = Text(HERE / "model.onnx", threads), Text(HERE / "draft.onnx", threads)
    tokens, context = prompt_tokens(text, tokenizer), MODEL["context_length"]
    if not 0 < len(tokens) <= context:
        sys.exit(f"the text has {len(tokens)} tokens; give 1 to {context}")
    stream, end = DecodeStream(skip_special_tokens=True), len(tokens) + min(most, context - len(tokens) + 1)
    while len(tokens) < end:
        drafted = []
        for _ in range(min(k, end - len(tokens) - 1)):
            drafted += draft.likeliest(tokens + drafted, 1)
        chosen = target.likeliest(tokens + drafted, len(drafted) + 1)
        accepted = next((n for n, (one, other) in enumerate(zip(drafted, chosen)) if one != other), len(drafted))
        for token in chosen[: accepted + 1]:
            if token in STOPS:
                return
            tokens.append(token)
            yield stream.step(tokenizer, token) or ""


'''


def speculative_script(spec: NetworkSpec) -> str:
    """The same for an artifact with `draft.onnx` and `speculative.json`, whose `model.onnx` gives the logits of all tokens.

    Args:
        spec: Of the network; text around a prompt is part of the script.
    """
    return decoder_script(spec).replace(SINGLE, PAIR)


def decoder_script(spec: NetworkSpec) -> str:
    """Python source of `infer.py` for `model.onnx`, `genai_config.json` and `tokenizer.json` in the same folder.

    Args:
        spec: Of the network; text around a prompt is part of the script.
    """
    before, after = (spec.text.prompt if spec.text is not None else None) or ("", "")
    return SOURCE.replace("TEXT_AROUND_A_PROMPT", f"{json.dumps(before)}, {json.dumps(after)}")
