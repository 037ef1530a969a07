"""Two files of a network that answers questions on images; the decoder keeps keys and values.

    file:           image, tokens ──► logits of all tokens
    vision.onnx:    image ──► visual_tokens (B, P, D), by vision encoder and projector
    language.onnx:  visual_tokens (B, P | 0, D), tokens, past ──► logits of the last token, keys and values

The first call of `language.onnx` reads the visual tokens and the question, with an `attention_mask` over both and keys and
values of no token; each further call reads no visual token and the token that was written last. The numbers of each node are
those of the file, so quantized files are divided as float ones are.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir
from onnx import helper

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.decoder.divide_by_root import divide_by_root
from compress.backends.decoder.key_value_cache import IDS, MASK, CacheBuilder, read_layout
from compress.backends.graph_part import after, graph_part, read_batch_of
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.core.decoder_layout import CACHED, LAST, METADATA, DecoderLayout
from compress.core.errors import ConversionError
from compress.core.language import gettext

VISION, LANGUAGE = "vision.onnx", "language.onnx"
"""Names of the files."""
VISUAL = "visual_tokens"
"""Name of the vectors between them."""


def split_vision(source: Path, folder: Path) -> tuple[DecoderLayout, int]:
    """Write `vision.onnx` and `language.onnx`.

    Args:
        source: A file with one image input, float or quantized, that describes its attention layers.
        folder: Folder of the new files.

    Returns:
        The layout of the decoder, and P, the visual tokens of an image.

    Raises:
        ConversionError: The file has no layout, or its graph is another one.
        StoreError: The folder is not writable, or the disk is full.
    """
    layout = read_layout(source)
    if layout is None:
        msg = gettext(
            "the attention layers of the decoder of {path} are not known, so no keys and values can be kept", path=source
        )
        raise ConversionError(msg)
    model = onnx_files.load(source)
    images = [each for each in model.graph.input if each.name not in (IDS, MASK)]
    _rename(model.graph, _visual_value(model.graph, [each.name for each in images], source), VISUAL)
    vision = graph_part(model, images, [helper.make_empty_tensor_value_info(VISUAL)], [VISUAL])
    for entry in [each for each in vision.metadata_props if each.key in (METADATA, CACHED)]:
        vision.metadata_props.remove(entry)
    onnx_files.save(vision, folder / VISION)
    places, width = _shape_of_tokens(folder / VISION)
    visual = helper.make_tensor_value_info(VISUAL, onnx.TensorProto.FLOAT, ["batch", "visual", width])
    texts = [each for each in model.graph.input if each.name in (IDS, MASK)]
    outputs = list(model.graph.output)
    of_image = after(model.graph.node, [each.name for each in images]) - after(model.graph.node, [IDS, MASK])
    read_batch_of(model.graph, IDS, of_image)
    decoder = graph_part(model, [visual, *texts], outputs, [each.name for each in outputs], stop=[VISUAL])
    proto = graphs.to_proto(_with_cache(ir.from_proto(decoder), layout))
    onnx_files.check(proto)
    onnx_files.save(proto, folder / LANGUAGE)
    return layout, places


def _visual_value(graph: onnx.GraphProto, images: list[str], path: Path) -> str:
    """The value of images alone that is joined with what tokens alone have become."""
    of_image, of_tokens = after(graph.node, images), after(graph.node, [IDS])
    for node in graph.node:
        if node.op_type == "Concat" and len(node.input) == 2:
            visual, text = node.input
            if visual in of_image - of_tokens and text in of_tokens - of_image:
                return str(visual)
    msg = gettext("{path} does not join the vectors of an image with those of a text, so its parts cannot be apart", path=path)
    raise ConversionError(msg)


def _rename(graph: onnx.GraphProto, name: str, new: str) -> None:
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [new if each == name else each for each in values]


def _shape_of_tokens(path: Path) -> tuple[int, int]:
    """P and D of the vision part."""
    with OnnxRuntimeRunner(path) as runner:
        (found,) = runner.run(runner.sample(1))
    return int(found.shape[1]), int(found.shape[2])


def _with_cache(model: ir.Model, layout: DecoderLayout) -> ir.Model:
    """The decoder with past keys and values, and with the logits of the last token."""
    copy = graphs.with_shapes(model)
    _give_all_logits(copy)
    builder = _VisualCacheBuilder(copy, layout)
    for index, layer in enumerate(layout.layers):
        builder.replace_attention(index, layer)
    if layout.positions:
        builder.replace_positions()
    builder.keep_last_logits()
    divide_by_root(copy)
    builder.finish(LAST)
    return copy


def _give_all_logits(model: ir.Model) -> None:
    """Output the logits at all places in place of those at the places of the text, in place."""
    (output,) = model.graph.outputs
    value, name = output, str(output.name)
    while (node := value.producer()) is not None and node.op_type in ("Slice", "Identity"):
        source = node.inputs[0]
        assert source is not None  # noqa: S101  # a slice has an input
        value = source
    if value is not output:
        model.graph.outputs[0] = value
        output.name, value.name = f"{name}_of_text", name


class _VisualCacheBuilder(CacheBuilder):
    """Adds the cache to a decoder whose rows are visual tokens and those of the text."""

    def __init__(self, model: ir.Model, layout: DecoderLayout) -> None:
        super().__init__(model, layout)
        self.length = ir.SymbolicDim("tokens")
