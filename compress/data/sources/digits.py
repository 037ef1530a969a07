"""`digits`: 1,797 scans of handwritten digits, 8 × 8 pixels, in scikit-learn: real data without a network.

Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits

from compress.data.build_image_data import ArrayPart, from_arrays
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.stratified import Indices, stratified_hold_out


def load(settings: DataSettings, origin: DataSource) -> Data:  # noqa: ARG001
    """The digits, split by seed and class; resized (bilinear, antialiased) when read."""
    dataset = load_digits()
    # Sixteen levels of grey, 0 the background.
    images = torch.from_numpy(np.round(dataset.images * (255 / 16)).astype(np.uint8)).unsqueeze(1)
    labels = dataset.target.astype(np.int64)

    def part(chosen: Indices) -> ArrayPart:
        return images[torch.from_numpy(chosen)], labels[chosen]

    rest, test = stratified_hold_out(labels, settings.test, settings.seed)
    train, validation = stratified_hold_out(labels[rest], settings.validation, settings.seed)
    return from_arrays(
        part(rest[train]),
        part(rest[validation]),
        part(test),
        classes=[str(digit) for digit in range(10)],
        settings=settings,
    )
