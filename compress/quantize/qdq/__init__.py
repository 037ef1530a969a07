"""Q/DQ graphs: where QuantizeLinear and DequantizeLinear stand for each runtime, and rewrites that keep layers in int8."""
