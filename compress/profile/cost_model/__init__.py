"""Latency estimates for devices that are not connected, and the fit of their coefficients."""
