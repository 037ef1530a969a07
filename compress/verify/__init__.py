"""Verification of an artifact on another instruction set: its outputs are compared, its time is not measured."""
