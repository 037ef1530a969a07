"""The smallest recipe that is valid."""

SMALL = """\
name: small
task: classification
data: {source: digits}
model: {source: "torchvision:resnet18"}
stages:
  - train: {epochs: 2}
  - export
"""
