"""Verify an artifact on another instruction set: compare its outputs; its latency is not measured."""
