"""Layers of 8 bits among layers of 4, for the search for mixed precision."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import onnx
import onnx_ir as ir

from compress.backends import onnx_files
from compress.core.network_spec import NetworkSpec
from compress.quantize.schemes import REFERENCE, SchemeOptions, build_models
from compress.quantize.weight_only.matmul_nbits import linear_layers, round_layers
from compress.quantize.weight_only.round_blocks import WITHOUT_DATA, Weights, needs_data

BITS, MORE_BITS = 4, 8


@dataclass(eq=False)
class MixedBitsPlan:
    """Builds networks of `weight_int4` with any layers in 8 bits.

    Each matrix is rounded once with each number of bits, without data: a rounding with data compensates for the layers before,
    so it is done for the result alone.

    Attributes:
        model: Float network.
        options: Options; further layers have 8 bits.
    """

    model: ir.Model
    options: SchemeOptions
    _rounded: dict[int, Weights] = field(default_factory=dict, init=False, repr=False)

    @property
    def fixed(self) -> tuple[str, ...]:
        """Names of layers whose bits the options say: an output layer that shares a table, and those of 8 bits."""
        tied = self.options.parts.tied(self.model, linear_layers(self.model, self.options.exclude), BITS)
        return (*self.options.eight_bits, *(layer.name for layer in tied.values()))

    def build(self, runtime: str, exclude: tuple[str, ...], spec: NetworkSpec) -> onnx.ModelProto:  # noqa: ARG002
        """Build the network with the layers of `exclude` in 8 bits; all runtimes have the same."""
        names = {*exclude} - {*self.options.exclude, *self.fixed}
        keys = {layer.key for layer in linear_layers(self.model) if layer.name in names}
        more = {key: weight for key, weight in self._matrices(MORE_BITS).items() if key in keys}
        options = self._with_eight_bits(tuple(names))
        quantized = build_models(
            "weight_int4", self.model, (REFERENCE,), replace(options, given={**self._matrices(BITS), **more})
        ).models[REFERENCE]
        onnx_files.write_metadata(quantized, spec)
        return quantized

    def _matrices(self, bits: int) -> Weights:
        """All matrices as the options say, or all in 8 bits."""
        if bits not in self._rounded:
            names = tuple(layer.name for layer in linear_layers(self.model)) if bits == MORE_BITS else ()
            options = self._with_eight_bits(names)
            rounded, _ = round_layers(self.model, options.blocks(BITS), exclude=options.exclude, parts=options.parts)
            self._rounded[bits] = rounded
        return self._rounded[bits]

    def _with_eight_bits(self, names: tuple[str, ...]) -> SchemeOptions:
        """The options with further layers in 8 bits, rounded without data."""
        options = self.options
        rounding = WITHOUT_DATA if needs_data(options.rounding) else options.rounding
        return replace(options, rounding=rounding, batches=(), eight_bits=(*options.eight_bits, *names))
