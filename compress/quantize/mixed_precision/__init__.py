"""Mixed precision: which layers stay in float, under a limit on the metric, size or latency."""
