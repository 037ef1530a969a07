"""Mixed precision: which layers stay in float, under an accuracy, size or latency budget."""
