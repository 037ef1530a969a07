"""Latency: timing, interleaved sessions, sweeps, soak tests."""
