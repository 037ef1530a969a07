"""Analysis of a quantized network: SQNR, int8 coverage, float fallback, layer times."""
