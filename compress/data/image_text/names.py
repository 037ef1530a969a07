"""Names of the inputs and targets of pairs of an image and a text. Imports no torch."""

from __future__ import annotations

IMAGE = "image"
"""Name of the input with the image, float32 (N, C, H, W); the inputs of the text have their usual names."""
IMAGE_NUMBER, TEXT_NUMBER = "image_number", "text_number"
"""Targets, int64 (N,): equal numbers are the same image, or the same text, so that a pair of them is no negative."""
CLASS_NUMBER = "class_number"
"""Target of data with classes: number of the class, int64 (N,)."""
CLASS = "class_"
"""Prefix of the targets that are the inputs of a sentence about the class of the image."""
