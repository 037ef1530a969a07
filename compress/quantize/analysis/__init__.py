"""Analysis of a quantized network: accuracy, SQNR, int8 coverage, reasons for float layers, layer times."""
