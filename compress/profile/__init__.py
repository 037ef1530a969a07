"""Measure files on devices, also over SSH (latency, memory, power, time by layer), and estimate latency by a cost model."""
