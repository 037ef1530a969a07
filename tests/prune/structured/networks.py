"""Networks of torchvision for images of 32 × 32 pixels and four classes."""

import torch
import torchvision
from torch import nn

SIZE = 32


def build_network(name: str) -> nn.Module:
    """With random weights, in eval mode; `vit` is a small vision transformer."""
    torch.manual_seed(0)
    extra = {"image_size": SIZE, "patch_size": 8, "num_layers": 2, "num_heads": 4, "hidden_dim": 64, "mlp_dim": 256}
    if name == "vit":
        return torchvision.models.VisionTransformer(num_classes=4, **extra).eval()
    return torchvision.models.get_model(name, num_classes=4).eval()
