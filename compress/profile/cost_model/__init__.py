"""Latency estimates for devices out of reach, and the fit of their coefficients."""
