"""Pairs of an image and a text: batches, and the division into splits."""
