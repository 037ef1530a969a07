"""Pruning of single weights, blocks and N:M patterns; dynamic sparse training; lottery tickets."""
