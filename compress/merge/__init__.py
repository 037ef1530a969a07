"""Merging: one network from the weights of several with the same architecture, without training."""
