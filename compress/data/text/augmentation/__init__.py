"""Augmentation of texts: changed copies of the training texts."""
