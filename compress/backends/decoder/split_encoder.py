"""Two files of an encoder-decoder: what depends on the prompt alone, which is computed once, and what depends on the response.

    file:  prompt, response ──► logits
    encoder.onnx:  prompt ──► values        decoder.onnx:  values, mask of the prompt, response ──► logits

The values are those of nodes that depend on the prompt alone and that nodes of the response read: keys and values of the
decoder's attention to the hidden states of the encoder, and its mask. Nodes that depend on neither are in both files. The
numbers of each node are those of the file, so quantized files are divided as float ones are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from compress.backends import onnx_files
from compress.backends.graph_part import after, graph_part, read_batch_of
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.data.text.settings import DECODER_IDS

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
"""Names of the files."""
EXAMPLE = 3
"""Tokens of the prompt that tells types and shapes of the values."""
SAMPLES = 1000
"""Samples of audio in place of a token."""


def split_encoder(source: Path, folder: Path) -> tuple[str, ...]:
    """Write `encoder.onnx` and `decoder.onnx` of an encoder-decoder.

    Args:
        source: A file that reads prompts and `decoder_input_ids`, with a free batch.
        folder: Folder of the new files.

    Returns:
        Names of the values between them.

    Raises:
        ConversionError: The file does not read responses, or has branches, whose values are not followed.
        StoreError: The folder is not writable, or the disk is full.
    """
    model = onnx_files.load(source)
    graph = model.graph
    inputs = [each.name for each in graph.input]
    if DECODER_IDS not in inputs:
        raise ConversionError(gettext("{path} does not read responses as {name}", path=source, name=DECODER_IDS))
    if any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute):
        raise ConversionError(gettext("{path} has branches or loops, whose values are not followed", path=source))
    prompt_ids = next(name for name in inputs if name != DECODER_IDS)
    read_batch_of(graph, prompt_ids, [DECODER_IDS])  # the encoder then does not depend on the response
    of_response = after(graph.node, [DECODER_IDS])
    of_prompt = after(graph.node, [name for name in inputs if name != DECODER_IDS]) - of_response
    read = dict.fromkeys(name for node in graph.node if of_response & {*node.output} for name in node.input)
    between = tuple(name for name in read if name in of_prompt and name not in inputs)
    outputs = [each.name for each in graph.output]
    if not between or not {*outputs} <= of_response:
        raise ConversionError(gettext("the responses of {path} do not depend on its prompts", path=source))
    prompt = [each for each in graph.input if each.name != DECODER_IDS]
    untyped = [helper.make_empty_tensor_value_info(name) for name in between]
    onnx_files.save(graph_part(model, prompt, untyped, between), folder / ENCODER)
    passed = [each for each in graph.input if each.name in read]
    given = [*_typed_values(folder / ENCODER, between), *passed]
    onnx_files.save(graph_part(model, given, list(graph.output), outputs, stop=between), folder / DECODER)
    return between


def _typed_values(path: Path, names: Sequence[str]) -> list[onnx.ValueInfoProto]:
    """The values as inputs: types are those of a run, and sizes that two prompts of different lengths share are fixed."""
    found = []
    with OnnxRuntimeRunner(path) as runner:
        types = {each.name: np.float32 if "float" in each.type else np.int64 for each in runner.session.get_inputs()}
        for batch, length in ((1, EXAMPLE), (2, EXAMPLE + 2)):
            factor = SAMPLES if np.float32 in types.values() else 1
            arrays = runner.run({name: np.ones((batch, factor * length), dtype) for name, dtype in types.items()})
            found.append(dict(zip(names, arrays, strict=True)))
    return [_value(name, [each[name] for each in found]) for name in names]


def _value(name: str, examples: Sequence[np.ndarray]) -> onnx.ValueInfoProto:
    sizes = zip(*(each.shape for each in examples), strict=True)
    shape = [None if len({*size}) > 1 else size[0] for size in sizes]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(examples[0].dtype), shape)
