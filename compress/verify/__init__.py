"""Verify: does an artifact give the same answers on another instruction set? Numbers only, never time."""
