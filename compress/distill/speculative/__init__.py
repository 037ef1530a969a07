"""Speculative decoding: a draft that is distilled from its target, also while it serves, and the artifact of both."""
