"""Bits of the output layer and of embedding tables, which are chosen apart from those of the other layers.

In a small language model both are the largest matrices, and often one: y = h Eᵀ. Where both have as many bits, the matrix is
stored once. It is rounded without data then, since a lookup reads its rows whatever the inputs of the output layer are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.core.decoder_layout import METADATA, DecoderLayout
from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.quantize.dynamic.embeddings import is_table
from compress.quantize.ptq.weighted_layers import LINEAR, WeightedLayer, read_weight
from compress.quantize.settings import PartBits


@dataclass(frozen=True)
class HeadAndTables:
    """Bits of two parts of a network.

    Attributes:
        head: Of the output layer of a language model; None for those of the other layers.
        embedding: Of tables in blocks; None for int8 with a scale for each row.
    """

    head: PartBits = None
    embedding: PartBits = None

    def excluded(self, model: ir.Model, exclude: Sequence[str]) -> tuple[str, ...]:
        """Names of nodes in float, with the output layer and the lookups among them where these stay in float."""
        lookups = [str(node.name) for value in tables(model) for node in value.consumers()] if self.embedding == "float" else []
        head = [find_head(model)] if self.head == "float" else []
        return (*exclude, *head, *lookups)

    def bits_by_layer(self, model: ir.Model, bits: int) -> Mapping[str, int]:
        """Bits of layers by name, of those that have other ones."""
        return {find_head(model): self.head} if isinstance(self.head, int) and self.head != bits else {}

    def tied(self, model: ir.Model, layers: Sequence[WeightedLayer], bits: int) -> Mapping[str, WeightedLayer]:
        """Output layers by name of the table whose integers they share.

        Args:
            model: Float network.
            layers: Its linear layers that are quantized.
            bits: Of layers.
        """
        special = self.bits_by_layer(model, bits)
        same = [layer for layer in layers if special.get(layer.name, bits) == self.embedding]
        return {
            str(table.name): layer
            for table in (tables(model) if same else ())
            for layer in same
            if _is_transposed(model, layer, np.asarray(graphs.constant(table)))
        }


def _is_transposed(model: ir.Model, layer: WeightedLayer, table: np.ndarray) -> bool:
    """Whether the outputs of a layer are the rows of a table."""
    size = graphs.dims(model.graph.initializers[layer.weight])
    if size is None or sorted(size) != sorted(table.shape):
        return False
    return np.array_equal(layer.to_matrix(read_weight(model, layer.weight))[0], table)


def tables(model: ir.Model) -> list[ir.Value]:
    """Large float matrices that only lookups of rows read."""
    return [value for value in model.graph.initializers.values() if is_table(value)]


def find_head(model: ir.Model) -> str:
    """Name of the node of the output layer of a language model.

    Raises:
        ConversionError: The network is none, or of a shape that is not known.
    """
    entry = model.metadata_props.get(METADATA)
    if entry is not None:
        name = DecoderLayout.model_validate_json(entry).head
        for node in model.graph:
            if node.op_type in LINEAR and str(node.name).partition("/")[0] == name:
                return str(node.name)
    msg = gettext(
        "weight_only.head is for the output layer of a language model whose attention layers are known; remove it, or name the "
        "layer in keep_float"
    )
    raise ConversionError(msg)
