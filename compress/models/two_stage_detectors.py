"""torchvision's detectors of two stages with plain tensors in and out: proposals of fixed number stand in for the anchors.

    image ─ backbone ─┬─ first stage: objectness and offsets of anchors ─ P proposals ─┐
                      └─ RoIAlign of the proposals ◄───────────────────────────────────┤
                            └─ second stage: K + 1 logits, offsets of each class ─ (logits, offsets, proposals)

Ren et al. 2015, Faster R-CNN, arXiv:1506.01497. The three outputs are those of the task detection, see
`compress.tasks.detection`: the logit z of a class with probability p of the softmax is log p − log(1 − p), so that σ(z) = p.
Layers have torchvision's names, and its weights fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FasterRCNN
from torchvision.models.detection.image_list import ImageList

from compress.models.detectors import DetectorOutputs, as_rows, logits_of_log_scores
from compress.models.proposals import ProposalLimits, select_proposals
from compress.models.region_features import RegionPooling
from compress.tasks import two_stage_outputs as names

PADDING_LOGIT = -20.0
"""Logit of all classes of padded proposals: a score of 2e-9, below that of every detection."""
SAMPLING_SEED = 0
"""Of the samples of the loss in eval mode, where it is a function of the batch."""


class TwoStageDetector(nn.Module):
    """Backbone, first and second stage of a torchvision detector.

    Args:
        detector: With `backbone`, `rpn` and `roi_heads`; its other parts are dropped.
        size: (height, width) of the images, pixels.
        channels: Of the images.
        proposals: P; None for torchvision's number.

    Attributes:
        takes_targets: `forward` computes what the loss needs from targets.
    """

    takes_targets: bool = True

    def __init__(self, detector: FasterRCNN, size: tuple[int, int], *, channels: int, proposals: int | None = None) -> None:
        super().__init__()
        self.backbone: nn.Module = detector.backbone
        self.rpn = detector.rpn
        self.roi_heads = detector.roi_heads
        self.size = size
        rpn = self.rpn
        self.limits = ProposalLimits(
            rpn._post_nms_top_n["testing"] if proposals is None else proposals,
            rpn._pre_nms_top_n["testing"],
            rpn.nms_thresh,
            rpn.score_thresh,
            rpn.min_size,
        )
        image = torch.zeros(1, channels, *size)
        training = detector.training
        detector.eval()
        with torch.no_grad():
            maps = self.backbone(image)
            anchors = rpn.anchor_generator(ImageList(image, [size]), list(maps.values()))[0]
            logits, _ = rpn.head(list(maps.values()))
        detector.train(training)
        self.level_sizes = tuple(level[0].numel() for level in logits)
        self.pooled = tuple(name for name in self.roi_heads.box_roi_pool.featmap_names if name in maps)
        self.pooling = RegionPooling.of(self.roi_heads.box_roi_pool, [maps[name] for name in self.pooled], size)
        self.register_buffer("anchor_boxes", anchors, persistent=False)
        self.register_buffer("offset_scale", 1 / torch.tensor(self.roi_heads.box_coder.weights), persistent=False)
        self.anchor_boxes: Tensor
        self.offset_scale: Tensor

    def forward(
        self,
        image: Tensor,
        boxes: Tensor | None = None,
        classes: Tensor | None = None,
        shared: Tensor | None = None,
    ) -> DetectorOutputs | Mapping[str, Tensor]:
        """Class logits, offsets of each class and proposals; with targets what the loss is computed from.

        Args:
            image: float32 (N, C, H, W), normalised.
            boxes: True boxes (N, M, 4), pixels.
            classes: True classes, int64 (N, M), −1 where padded.
            shared: Boxes (N, S, 4) that another network learns from, pixels; in eval mode only their logits are returned.

        Returns:
            (N, P, K), (N, P, 4 K) and (N, P, 4); with targets a mapping, see `compress.tasks.two_stage_outputs`.
        """
        maps = self.backbone(image)
        if boxes is None or classes is None:
            logits, offsets, proposals, *_ = self._detect(maps)
            return logits, offsets, proposals
        outputs: dict[str, Tensor] = {}
        if shared is not None:
            outputs[names.SHARED_LOGITS] = self._judge(maps, shared)[0]
        if shared is None or self.training:
            targets = [
                {"boxes": own[present], "labels": labels[present] + 1}
                for own, labels, present in zip(boxes, classes, classes >= 0, strict=True)
            ]
            with torch.random.fork_rng(devices=[], enabled=not self.training):
                if not self.training:
                    torch.default_generator.manual_seed(SAMPLING_SEED)
                outputs |= self._outputs_of_loss(maps, targets)
        return outputs

    def all_outputs(self, image: Tensor) -> tuple[Tensor, ...]:
        """The outputs, and those of the first stage: what depends on any layer, for the trace of the layers.

        Args:
            image: (N, C, H, W), normalised.
        """
        return self._detect(self.backbone(image))

    def _detect(self, maps: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Logits, offsets and proposals, and objectness and offsets of all anchors."""
        objectness, offsets = self._first_stage(maps)
        proposals, is_box = self._propose(objectness, offsets)
        logits, deltas = self._judge(maps, proposals)
        z = logits_of_log_scores(logits.log_softmax(-1)[..., 1:])
        t = deltas.reshape(*deltas.shape[:-1], deltas.shape[-1] // 4, 4)[..., 1:, :] * self.offset_scale
        real = is_box[..., None]
        outputs = torch.where(real, z, PADDING_LOGIT), torch.where(real, t.flatten(-2), 0.0), proposals
        return (*outputs, torch.cat(objectness, dim=1), torch.cat(offsets, dim=1))

    def _first_stage(self, maps: Mapping[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Objectness (N, A) and offsets (N, A, 4) of the anchors of each level."""
        objectness, offsets = self.rpn.head(list(maps.values()))
        return [as_rows(level, 1).squeeze(-1) for level in objectness], [as_rows(level, 4) for level in offsets]

    def _propose(self, objectness: Sequence[Tensor], offsets: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        return select_proposals(
            objectness, offsets, torch.split(self.anchor_boxes, list(self.level_sizes)), self.size, self.limits
        )

    def _judge(self, maps: Mapping[str, Tensor], boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, P, K + 1), of the background first, and offsets in torchvision's scale, (N, P, 4 (K + 1)), of boxes."""
        features = self.pooling.pool([maps[name] for name in self.pooled], boxes)
        logits, deltas = self.roi_heads.box_predictor(self.roi_heads.box_head(features))
        rows = boxes.shape[1]
        return logits.reshape(-1, rows, logits.shape[-1]), deltas.reshape(-1, rows, deltas.shape[-1])

    def _outputs_of_loss(self, maps: Mapping[str, Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """What the loss is computed from: samples of anchors and of proposals, drawn as in torchvision."""
        objectness, offsets = self._first_stage(maps)
        proposals, is_box = self._propose(objectness, offsets)
        outputs = {names.OBJECTNESS: torch.cat(objectness, dim=1), names.ANCHOR_OFFSETS: torch.cat(offsets, dim=1)}
        outputs |= self._anchor_targets(targets)
        own = [boxes[present] for boxes, present in zip(proposals, is_box, strict=True)]
        samples, _, labels, encoded = self.roi_heads.select_training_samples(own, targets)
        boxes = nn.utils.rnn.pad_sequence(samples, batch_first=True)
        outputs[names.PROPOSALS] = boxes
        outputs[names.PROPOSAL_LABELS] = nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=names.NO_LABEL)
        outputs[names.PROPOSAL_TARGETS] = nn.utils.rnn.pad_sequence(list(encoded), batch_first=True)
        outputs[names.PROPOSAL_LOGITS], outputs[names.PROPOSAL_OFFSETS] = self._judge(maps, boxes)
        return outputs

    @torch.no_grad()
    def _anchor_targets(self, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Label of each anchor, 1 with an object, 0 without, `NO_LABEL` where it is not sampled, and true offsets."""
        anchors = [self.anchor_boxes] * len(targets)
        labels, matched = self.rpn.assign_targets_to_anchors(anchors, targets)
        encoded = self.rpn.box_coder.encode(matched, anchors)
        sampled = [torch.stack(masks).bool() for masks in self.rpn.fg_bg_sampler(labels)]
        all_labels = torch.stack(labels).to(torch.int64)
        chosen = sampled[0] | sampled[1]
        return {
            names.ANCHOR_LABELS: torch.where(chosen, all_labels, names.NO_LABEL),
            names.ANCHOR_TARGETS: torch.stack(list(encoded)),
        }
