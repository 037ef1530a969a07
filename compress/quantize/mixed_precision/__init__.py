"""Mixed precision: search for the layers that stay in float, under a limit on the metric, size or latency."""
