"""Merging the experts of a network: one feed-forward network in place of each mixture."""
