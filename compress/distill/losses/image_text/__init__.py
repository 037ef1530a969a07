"""Losses on the vectors of networks with an image tower and a text tower."""
