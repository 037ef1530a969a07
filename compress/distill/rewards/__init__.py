"""Rewards of texts that a student writes, from an environment: metrics against the response of the data, or a function."""
