"""Measurement of files on devices: latency, memory, power, time by layer, estimates by a cost model, devices over SSH."""
