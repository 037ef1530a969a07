"""Curriculum: sample weighting, mixup, loss balancing."""
