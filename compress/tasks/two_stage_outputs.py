"""Outputs of a detector of two stages in training, the loss on them, and their rows for losses on logits.

A detector of two stages has an attribute `takes_targets`, and a `forward` that also takes the targets: its second stage is
trained on samples of proposals and true boxes, so that its outputs depend on them. For N images of A anchors, S samples and K
classes:

    objectness         (N, A)             logits of the anchors
    anchor_offsets     (N, A, 4)          t of the anchors, see `compress.tasks.boxes`
    anchor_labels      int64 (N, A)       1 with an object, 0 without, −1 where an anchor is not sampled
    anchor_targets     (N, A, 4)          true t
    proposals          (N, S, 4)          pixels
    proposal_labels    int64 (N, S)       class + 1, 0 for the background, −1 for padding
    proposal_targets   (N, S, 4)          true t in the scale of `proposal_offsets`
    proposal_logits    (N, S, K + 1)      of the background first
    proposal_offsets   (N, S, 4 (K + 1))  of each class
    shared_logits      (N, S', K + 1)     of the proposals of another network

Imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.core.language import gettext
from compress.data.batch import Tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

OBJECTNESS, ANCHOR_OFFSETS = "objectness", "anchor_offsets"
ANCHOR_LABELS, ANCHOR_TARGETS = "anchor_labels", "anchor_targets"
PROPOSALS, PROPOSAL_LABELS, PROPOSAL_TARGETS = "proposals", "proposal_labels", "proposal_targets"
PROPOSAL_LOGITS, PROPOSAL_OFFSETS = "proposal_logits", "proposal_offsets"
SHARED_LOGITS = "shared_logits"
NO_LABEL = -1
SMOOTH_L1_BETA = 1 / 9
"""Offset from which the loss of the boxes is linear, as in torchvision."""


def is_two_stage(module: nn.Module) -> bool:
    """Whether a network, or the one inside a wrapper for several processes, has its loss computed with the targets."""
    inner = getattr(module, "module", module)
    return bool(getattr(inner, "takes_targets", False))


def two_stage_loss(outputs: Tensors, *, label_smoothing: float = 0.0) -> Tensor:
    """Loss of both stages, as in Ren et al. 2015, arXiv:1506.01497, equation 1, with torchvision's factors.

        L = BCE(objectness) + Σ_objects smoothL1(t − t*) / A_s   +   CE(logits) + Σ_objects smoothL1(t_c − t*) / S

    The first two terms are over the A_s sampled anchors, the others over the S sampled proposals, t_c of the true class.

    Args:
        outputs: See the docstring of this module.
        label_smoothing: Of the classes of the second stage.

    Returns:
        Scalar, at least 0.
    """
    from torch.nn import functional as F

    labels = outputs[ANCHOR_LABELS]
    z, sampled, objects = outputs[OBJECTNESS], labels != NO_LABEL, labels == 1
    loss = F.binary_cross_entropy_with_logits(z[sampled], labels[sampled].to(z.dtype))
    loss = loss + _box_loss(outputs[ANCHOR_OFFSETS][objects], outputs[ANCHOR_TARGETS][objects], int(sampled.sum()))
    labels = outputs[PROPOSAL_LABELS]
    sampled, objects = labels != NO_LABEL, labels > 0
    loss = loss + F.cross_entropy(outputs[PROPOSAL_LOGITS][sampled], labels[sampled], label_smoothing=label_smoothing)
    offsets = outputs[PROPOSAL_OFFSETS][objects]
    offsets = offsets.reshape(len(offsets), offsets.shape[1] // 4, 4)
    own = labels[objects][:, None, None].expand(-1, 1, 4)
    targets = outputs[PROPOSAL_TARGETS][objects]
    return loss + _box_loss(offsets.gather(1, own).squeeze(1), targets, int(sampled.sum()))


def _box_loss(offsets: Tensor, targets: Tensor, count: int) -> Tensor:
    from torch.nn import functional as F

    return F.smooth_l1_loss(offsets, targets, beta=SMOOTH_L1_BETA, reduction="sum") / max(count, 1)


def proposal_rows(outputs: Tensors, targets: Tensors) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (R, K + 1), classes and images of the sampled proposals, or of those that another network shares.

    Args:
        outputs: See the docstring of this module.
        targets: With `proposal_labels` of the shared proposals, where there are some.
    """
    labels = targets.get(PROPOSAL_LABELS, outputs.get(PROPOSAL_LABELS))
    logits = outputs.get(SHARED_LOGITS, outputs.get(PROPOSAL_LOGITS))
    if labels is None or logits is None:
        msg = gettext("the outputs have no proposals")
        raise TypeError(msg)
    sampled = labels != NO_LABEL
    return logits[sampled], labels[sampled], sampled.nonzero()[:, 0]
