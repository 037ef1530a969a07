"""Frames of outputs after the end of a clip, in a batch with longer clips.

A network writes a certain blank there: logit 0 for the blank and `NEVER` for all other classes. So a clip has the same text and
the same CTC loss alone and in any batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from compress.tasks.output_agreement import OutputAgreement

NEVER = -1e4
"""Logit of a class that cannot be, within the range of half precision."""


def blank_padding(logits: Tensor, mask: Tensor) -> Tensor:
    """Logits with a certain blank where the mask is 0.

    Args:
        logits: (N, T, K), blank first.
        mask: 1 for frames of the clip and 0 after it, float (N, T).
    """
    import torch

    blank = torch.full_like(logits[:1, :1], NEVER)
    blank[..., 0] = 0.0
    weights = mask[:, :, None]
    return logits * weights + blank * (1.0 - weights)


def is_padding(logits: Tensor) -> Tensor:
    """Which frames are after the end of a clip, bool (N, T)."""
    return logits[..., 1:].amax(dim=2) <= NEVER / 2


def frame_agreement(reference: Tensor, other: Tensor) -> OutputAgreement:
    """Differences of the logits, and the fraction of frames with the same class; frames after the end of a clip are 0.

    Args:
        reference: (N, T, K).
        other: (N, T, K) of the same clips.
    """
    from compress.tasks.output_agreement import compare_outputs

    ended = is_padding(reference)[:, :, None]
    first, second = (each.masked_fill(ended, 0.0).movedim(2, 1).numpy() for each in (reference, other))
    return compare_outputs(first, second)
