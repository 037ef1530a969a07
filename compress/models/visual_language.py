"""A network that sees and writes: a vision encoder, a projector, and a decoder that reads visual tokens before those of a text.

Liu et al. 2023, LLaVA, arXiv:2304.08485, section 4.1; with a projector of two layers, arXiv:2310.03744.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from compress.models.line_reader import block
from compress.models.visual_language_settings import VisionSettings


class VisionEncoder(nn.Module):
    """Image (N, C, H, W) → features of P places, (N, P, F), row by row; F = width · 2^(S − 1).

    Args:
        settings: Its sizes.
        channels: C.

    Attributes:
        features: F.
    """

    def __init__(self, settings: VisionSettings, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for step in range(settings.steps):
            width = settings.width * 2**step
            layers.append(block(channels, width, (2, 2)))
            layers += [block(width, width, (1, 1)) for _ in range(settings.repeats - 1)]
            channels = width
        self.layers = nn.Sequential(*layers)
        self.features = channels

    def forward(self, image: Tensor) -> Tensor:
        """Features of places."""
        places: Tensor = self.layers(image).flatten(2).transpose(1, 2)
        return places


def visual_tokens(height: int, width: int, steps: int) -> int:
    """P, the places that `VisionEncoder` gives for an image of this size in pixels."""
    side = 1 << steps
    return -(-height // side) * -(-width // side)


def make_projector(kind: Literal["linear", "mlp"], features: int, width: int) -> nn.Module:
    """A projector of features F to the width D of the decoder, (…, F) → (…, D).

    Args:
        kind: `linear`, or `mlp` of two layers.
        features: F.
        width: D.
    """
    first = nn.Linear(features, width)
    return first if kind == "linear" else nn.Sequential(first, nn.GELU(), nn.Linear(width, width))


class VisualLanguage(nn.Module):
    """Image (N, C, H, W), token numbers and attention mask, int64 (N, L) → logits of the token after each one, (N, L, V).

        v = projector(vision(image)),   z = decoder([v_1 … v_P, x_1 … x_L]),   logits = z_{P+1} … z_{P+L}

    The decoder sees a visual token as a token before the text, from left to right as any other. Padding is on the right.

    Args:
        vision: Image → features of places, (N, P, F).
        projector: Features → vectors of the decoder, (N, P, F) → (N, P, D).
        decoder: A causal language model of transformers.

    Attributes:
        places: Passes on z, the logits at all places, visual and textual, (N, P + L, V); losses read them there.
    """

    def __init__(self, vision: nn.Module, projector: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.vision, self.projector, self.decoder = vision, projector, decoder
        self.places = nn.Identity()

    def forward(self, image: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits at the places of the text."""
        decoder: Any = self.decoder
        seen = self.projector(self.vision(image))
        mask = torch.cat([torch.ones_like(seen[:, :, 0], dtype=attention_mask.dtype), attention_mask], dim=1)
        tokens = torch.cat([seen, decoder.get_input_embeddings()(input_ids)], dim=1)
        z: Tensor = self.places(decoder(inputs_embeds=tokens, attention_mask=mask, use_cache=False).logits)
        return z[:, seen.shape[1] :]
