"""A search of a small network on few digits, whose trials take seconds."""

from pathlib import Path

NETWORK = """\
from torch import nn

def build(classes: int = 10) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(16, classes))
"""

RECIPE = """\
name: small
data: {source: digits, image_size: 16, limit: 200}
model: {source: "python:network.py:build"}
stages:
  - train: {epochs: 12, batch_size: 16, optimizer: adamw, lr: 0.01}   # above chance
  - prune: {target: {macs: 0.7}}
  - profile: {devices: [host], seconds: 0.1}
budget: {size_mb: 1}
search:
  space:
    stages.prune: {optional: true}
    stages.prune.target.macs: {low: 0.3, high: 0.8}
  objectives: [accuracy, macs]
  engine: random
  trials: 3
"""


def write_recipe(folder: Path, text: str = RECIPE) -> Path:
    """The recipe and its network in a folder."""
    (folder / "network.py").write_text(NETWORK)
    path = folder / "small.yaml"
    path.write_text(text)
    return path
