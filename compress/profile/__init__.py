"""Measurement: timing, memory, the cost model, one runner a runtime."""
