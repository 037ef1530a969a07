"""Parts of `infer.py` for networks that take texts: `preprocess`, on `tokenizers` and numpy alone."""

from __future__ import annotations

import json

from compress.core.network_spec import NetworkSpec, TextPreprocessing
from compress.data.text.settings import DECODER_IDS

TEXT_INPUT = "INPUT is a text{pair}, in quotes; texts of more than {most} tokens are cut."
TEXT = '''INPUTS = {inputs}
ROWS = {{"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}}


def preprocess(texts):
    """Inputs by name for texts, or for (text, text): token numbers padded to the longest, int64 (N, L)."""
    encodings = Tokenizer.from_file(str(HERE / "tokenizer.json")).encode_batch(list(texts))
    feeds = {{name: np.array([getattr(each, ROWS[name]) or [0] for each in encodings], dtype=np.int64) for name in INPUTS}}
    feeds["attention_mask"][:, 0] = 1  # an empty text has a token, too
    return feeds


'''

WRITES = """END = {end}
BEFORE, AFTER = {before}, {after}  # text around a prompt


"""
"""Constants of networks that write texts."""


def text_preprocessing(spec: NetworkSpec, text: TextPreprocessing) -> tuple[str, str]:
    """What is given on the command line, and the source of `preprocess`.

    Args:
        spec: Inputs of the network.
        text: Its preprocessing.
    """
    second = " and the text beside it" if text.pairs else ""
    about = TEXT_INPUT.format(pair=second, most=text.max_length)
    names = [tensor.name for tensor in spec.signature.inputs if tensor.name != DECODER_IDS]
    body = TEXT.format(inputs=json.dumps(names))
    return about, body + writing_constants(text)


def writing_constants(text: TextPreprocessing) -> str:
    """Source of the constants of a network that writes texts; empty for another one."""
    if text.end_token is None:
        return ""
    before, after = text.prompt or ("", "")
    return WRITES.format(end=json.dumps(text.end_token), before=json.dumps(before), after=json.dumps(after))
