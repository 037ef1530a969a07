"""`infer.py` of an artifact of an encoder-decoder, which imports numpy, onnxruntime and tokenizers alone."""

from __future__ import annotations

import json

from compress.core.network_spec import NetworkSpec

SOURCE = '''"""Write the response to a prompt with the likeliest tokens:  python infer.py "A prompt" [MOST_TOKENS]

Needs: pip install numpy onnxruntime tokenizers
"""

import os
import sys
from pathlib import Path

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported
import onnxruntime
from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
END, MOST = END_AND_MOST


def session(name, threads):
    """One of the files."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    return onnxruntime.InferenceSession(str(HERE / name), options, providers=["CPUExecutionProvider"])


def prompt_tokens(prompt, tokenizer):
    """Token numbers of a prompt, with its end; a longer one is cut."""
    end = tokenizer.token_to_id(END)
    ids = tokenizer.encode(prompt).ids
    ids = ids if ids[-1:] == [end] else [*ids, end]
    return ids if len(ids) <= MOST else [*ids[: MOST - 1], end]


def respond(prompt, most=128, threads=1):
    """The response; the encoder reads the prompt once, and the decoder each token once."""
    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    encoder, decoder = session("encoder.onnx", threads), session("decoder.onnx", threads)
    value = onnxruntime.OrtValue.ortvalue_from_numpy
    ids = np.array([prompt_tokens(prompt, tokenizer)], np.int64)
    given = {"input_ids": value(ids), "attention_mask": value(np.ones_like(ids))}
    names, outputs = ([each.name for each in part.get_outputs()] for part in (encoder, decoder))
    values = encoder.run_with_ort_values(names, {each.name: given[each.name] for each in encoder.get_inputs()})
    inputs = {each.name: each.shape for each in decoder.get_inputs()}
    feeds = {name: each for name, each in {**given, **dict(zip(names, values))}.items() if name in inputs}
    zeros = {name: np.zeros((1, shape[1], 0, shape[3]), np.float32) for name, shape in inputs.items() if "past" in name}
    past, written = {name: value(array) for name, array in zeros.items()}, [0]  # the network puts its own start there
    while len(written) <= min(most, MOST):
        step = {"decoder_input_ids": np.array([written[-1:]], np.int64)}
        step["decoder_attention_mask"] = np.ones((1, len(written)), np.int64)
        tokens = {name: value(array) for name, array in step.items()}
        logits, *present = decoder.run_with_ort_values(outputs, {**feeds, **tokens, **past})
        past = dict(zip(past, present))
        token = int(logits.numpy()[0, -1].argmax())
        if token == tokenizer.token_to_id(END):
            break
        written.append(token)
    return tokenizer.decode(written[1:])


if __name__ == "__main__":
    print(respond(sys.argv[1], *map(int, sys.argv[2:])) if len(sys.argv) in (2, 3) else sys.exit(__doc__))
'''

CACHED = SOURCE[SOURCE.index('    """The response') : SOURCE.index("    tokenizer = ")]
LOOP = SOURCE[SOURCE.index("    value = onnx") : SOURCE.index("        if token == tok")]
WHOLE = '''    """The response; the encoder reads the prompt once, and the decoder all tokens written for each new one."""
'''
WHOLE_LOOP = """    ids = np.array([prompt_tokens(prompt, tokenizer)], np.int64)
    given = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    names = [each.name for each in encoder.get_outputs()]
    values = encoder.run(names, {each.name: given[each.name] for each in encoder.get_inputs()})
    feeds = {**given, **dict(zip(names, values))}
    feeds = {each.name: feeds[each.name] for each in decoder.get_inputs() if each.name in feeds}
    written = [0]  # the network puts its own start there
    while len(written) <= min(most, MOST):
        (logits,) = decoder.run(None, {**feeds, "decoder_input_ids": np.array([written], np.int64)})
        token = int(logits[0, -1].argmax())
"""


def respond_script(spec: NetworkSpec, *, cache: bool = True) -> str:
    """Python source of `infer.py` for `encoder.onnx`, `decoder.onnx` and `tokenizer.json` in the same folder.

    Args:
        spec: Of a network of texts, with the token that ends one.
        cache: The decoder keeps keys and values.
    """
    text = spec.text
    assert text is not None  # noqa: S101  # encoder-decoders take texts
    source = SOURCE if cache else SOURCE.replace(CACHED, WHOLE).replace(LOOP, WHOLE_LOOP)
    return source.replace("END_AND_MOST", f"{json.dumps(text.end_token)}, {text.max_length}")
