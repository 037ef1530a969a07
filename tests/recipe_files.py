"""Files for the shipped recipes that take files of the user: photographs and a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn

from compress.backends.export_onnx import export_onnx
from compress.core.network_spec import image_spec

OF_FILES = ("onnx_to_int8_pi", "pretrained_to_int8")
"""Recipes for files of the user."""


def own_files(name: str, folder: Path) -> list[str]:
    """Photographs and a network in a folder, and what names them in place of those of the recipe."""
    if name not in OF_FILES:
        return []
    random = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for index in range(24):
        pixels = random.integers(0, 255, (48, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{index}.png")
    values = [f"data.source=images:{folder / 'photos'}", "data.image_size=32"]
    if name == "pretrained_to_int8":
        torch.manual_seed(0)
        torch.save(torchvision.models.squeezenet1_1(num_classes=7).state_dict(), folder / "weights.pt")
        model = (
            f"{{source: 'file:{folder / 'weights.pt'}', architecture: 'torchvision:squeezenet1_1', args: {{num_classes: 7}}}}"
        )
        return [*values, f"model={model}"]
    layers = (nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    spec = image_spec(channels=3, height=32, width=32, mean=(0.5,) * 3, std=(0.25,) * 3, classes=tuple("abcde"))
    export_onnx(nn.Sequential(*layers).eval(), spec, folder / "m.onnx")
    return [*values, f"model.source=onnx:{folder / 'm.onnx'}"]
