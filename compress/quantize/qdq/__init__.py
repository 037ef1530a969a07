"""Insert QuantizeLinear and DequantizeLinear for each runtime, and rewrite graphs such that layers run in int8."""
