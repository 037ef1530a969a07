"""Modules for pruned structures that the original code does not support: attention with fewer heads, dropped blocks.

Torch's attention modules derive the width of a head from the width of the input. After heads are removed the two differ;
the module is then replaced by one with the same attributes that uses the shapes of its tensors. A dropped residual
block is replaced by one with empty tensors that returns its input. The shapes determine what was pruned, so a checkpoint
needs no further data.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.maxvit import RelativePositionalMultiHeadAttention
from torchvision.models.swin_transformer import ShiftedWindowAttention, ShiftedWindowAttentionV2

POSITIONED = (ShiftedWindowAttention, RelativePositionalMultiHeadAttention)
"""Attention modules with a relative position parameter, which has one entry per head."""
_MASKED = -100.0
_LARGEST_SCALE = 4.605170185988092
"""ln 100: the limit that Swin V2 sets to the logarithm of its temperature."""


def restore_pruned_forwards(module: nn.Module) -> nn.Module:
    """Replace every part whose tensors have pruned shapes by a module for these shapes.

    A replacement uses the tensors, submodules, hooks and settings of the part, not copies.

    Args:
        module: The network; its parts are replaced in place.

    Returns:
        The network; the replacement where the whole network is one pruned part.
    """
    replacements = {part: _replacement(kind, part) for part in module.modules() if (kind := _pruned_kind(part)) is not None}
    for owner in list(module.modules()):
        for name, part in list(owner._modules.items()):  # named_children omits second names
            if part in replacements:
                setattr(owner, name, replacements[part])
    return replacements.get(module, module)


def checkpoint_type(part: nn.Module) -> str:
    """Class name of a part in checkpoints, which is that of the original part."""
    return str(getattr(part, "_original_type", type(part).__name__))


def _replacement(kind: type[nn.Module], part: nn.Module) -> nn.Module:
    replacement = kind.__new__(kind)  # no __init__: the attributes of the part are used
    vars(replacement).update(vars(part), _original_type=checkpoint_type(part))
    return replacement


def is_skipped(part: nn.Module) -> bool:
    """Whether it has parameters and all of them are empty."""
    parameters = list(part.parameters())
    return bool(parameters) and not any(parameter.numel() for parameter in parameters)


def _pruned_kind(part: nn.Module) -> type[nn.Module] | None:
    """The class for the tensors of a part; None if its class fits, or it is already replaced."""
    kind: type[nn.Module] | None = None
    if isinstance(part, nn.MultiheadAttention) and part.in_proj_weight is not None:
        narrowed = part.in_proj_weight.numel() and part.in_proj_weight.shape[0] != 3 * part.embed_dim
        kind = PrunedMHA if narrowed else None
    elif isinstance(part, ShiftedWindowAttention) and _is_narrowed(part, "qkv.weight", "proj.weight"):
        kind = PrunedWindowedMHAV2 if isinstance(part, ShiftedWindowAttentionV2) else PrunedWindowedMHA
    elif isinstance(part, RelativePositionalMultiHeadAttention) and _is_narrowed(part, "to_qkv.weight", "merge.weight"):
        kind = PrunedRelativeMHA
    if kind is None and is_skipped(part) and any(part.children()):
        kind = SkippedBlock
    return None if kind is None or isinstance(part, kind) else kind


def _is_narrowed(part: nn.Module, inner: str, outer: str) -> bool:
    rows = len(part.get_parameter(inner))
    return rows > 0 and rows != 3 * len(part.get_parameter(outer))


def empty_shape(dim: int, *, entries: int) -> tuple[int, ...]:
    """Shape without elements of a dropped block's parameter: it records the length of the tuple that the block returns."""
    return (*(0,) * (dim - 1), entries) if dim > 1 else (0,) * dim


class SkippedBlock(nn.Module):
    """Returns its input; where the original block returns a tuple, one of this length with None after the input."""

    def forward(self, x: Tensor, *_: object, **__: object) -> Tensor | tuple[Tensor | None, ...]:
        """The input."""
        entries = max((parameter.shape[-1] for parameter in self.parameters() if parameter.dim() > 1), default=0)
        return (x, *(None,) * (entries - 1)) if entries else x


class PrunedMHA(nn.MultiheadAttention):
    """Self-attention whose total head width is smaller than the width of its input."""

    def forward(  # as torch's module has them
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,  # noqa: ARG002
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,  # noqa: ARG002
        is_causal: bool = False,  # noqa: ARG002
    ) -> tuple[Tensor, None]:
        """Attention over (N, L, E), or (L, N, E) without `batch_first`; the attention weights are not returned.

        Masks are those of torch's module: True, or a number to add to the scores, at what is not attended to.
        """
        biases = self.in_proj_bias.chunk(3) if self.in_proj_bias is not None else (None,) * 3
        weights = zip((query, key, value), self.in_proj_weight.chunk(3), biases, strict=True)
        q, k, v = (self._heads(F.linear(x, weight, bias)) for x, weight, bias in weights)
        probability = self.dropout if self.training else 0.0
        mask = self._mask(key_padding_mask, attn_mask, q.dtype)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=probability)
        joined = mixed.transpose(1, 2).flatten(2)
        answer = F.linear(joined, self.out_proj.weight, self.out_proj.bias)
        return answer if self.batch_first else answer.transpose(0, 1), None

    def _mask(self, padding: Tensor | None, attended: Tensor | None, dtype: torch.dtype) -> Tensor | None:
        """Numbers to add to the scores (N, heads, L, S), from masks (N, S) and (L, S) or (N · heads, L, S)."""
        masks = []
        if padding is not None:
            masks.append(_added(padding, dtype)[:, None, None, :])
        if attended is not None:
            added = _added(attended, dtype)
            masks.append(torch.unflatten(added, 0, (-1, self.num_heads)) if added.dim() == 3 else added)
        return sum(masks[1:], masks[0]) if masks else None

    def _heads(self, x: Tensor) -> Tensor:
        """(N, L, inner) or (L, N, inner) → (N, heads, L, width of a head)."""
        ordered = x if self.batch_first else x.transpose(0, 1)
        return torch.unflatten(ordered, -1, (self.num_heads, -1)).transpose(1, 2)


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask of torch's attention as numbers to add to the scores."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, float("-inf")) if mask.dtype == torch.bool else mask


class PrunedWindowedMHA(ShiftedWindowAttention):  # type: ignore[misc]  # torchvision has no types
    """Attention in shifted windows (Liu et al. 2021, arXiv:2103.14030) whose heads together are narrower than its input."""

    window_size: list[int]

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) → (N, H, W, C)."""
        _, height, width, channels = x.shape
        (wh, ww), padded = self.window_size, F.pad(x, (0, 0, 0, -width % self.window_size[1], 0, -height % self.window_size[0]))
        tall, wide = padded.shape[1], padded.shape[2]
        shift = [s if w < size else 0 for s, w, size in zip(self.shift_size, self.window_size, (tall, wide), strict=True)]
        rolled = torch.roll(padded, (-shift[0], -shift[1]), (1, 2)) if any(shift) else padded
        rows, columns = tall // wh, wide // ww
        windows = rolled.view(-1, rows, wh, columns, ww, channels).permute(0, 1, 3, 2, 4, 5)
        answers = self._attend(windows.reshape(-1, wh * ww, channels), self._mask(x, tall, wide, shift))
        placed = answers.view(-1, rows, columns, wh, ww, channels).permute(0, 1, 3, 2, 4, 5)
        whole = placed.reshape(-1, tall, wide, channels)
        back = torch.roll(whole, (shift[0], shift[1]), (1, 2)) if any(shift) else whole
        return back[:, :height, :width, :].contiguous()

    def _attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Attention within windows (N · windows, tokens, C)."""
        bias: Tensor | None = self.qkv.bias
        scale = getattr(self, "logit_scale", None)
        if scale is not None and bias is not None:  # version 2 has no bias for keys
            third = len(bias) // 3
            bias = torch.cat([bias[:third], torch.zeros_like(bias[:third]), bias[2 * third :]])
        parts = torch.unflatten(F.linear(x, self.qkv.weight, bias), -1, (3, self.num_heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        if scale is None:
            logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        else:
            cosine = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
            logits = cosine * scale.clamp(max=_LARGEST_SCALE).exp()
        logits = logits + self.get_relative_position_bias()
        if mask is not None:
            apart = torch.unflatten(logits, 0, (-1, len(mask))) + mask[:, None]
            logits = apart.flatten(0, 1)
        weights = F.dropout(logits.softmax(-1), self.attention_dropout, self.training)
        joined = (weights @ v).transpose(1, 2).flatten(2)
        return F.dropout(F.linear(joined, self.proj.weight, self.proj.bias), self.dropout, self.training)

    def _mask(self, x: Tensor, tall: int, wide: int, shift: list[int]) -> Tensor | None:
        """Attention mask between tokens that are in one window only because of the shift, (windows, tokens, tokens)."""
        if not any(shift):
            return None
        (wh, ww), regions = self.window_size, []
        for size, window, moved in zip((tall, wide), self.window_size, shift, strict=True):
            place = torch.arange(size, device=x.device)
            regions.append((place >= size - window).long() + (place >= size - moved if moved else place >= 0).long())
        label = regions[0][:, None] * 3 + regions[1][None, :]
        windows = label.view(tall // wh, wh, wide // ww, ww).permute(0, 2, 1, 3).reshape(-1, wh * ww)
        return (windows[:, None, :] != windows[:, :, None]).to(x.dtype) * _MASKED


class PrunedWindowedMHAV2(PrunedWindowedMHA, ShiftedWindowAttentionV2):  # type: ignore[misc]  # likewise
    """The same for version 2 (Liu et al. 2022, arXiv:2111.09883)."""


class PrunedRelativeMHA(RelativePositionalMultiHeadAttention):  # type: ignore[misc]  # likewise
    """Attention with relative positions (Tu et al. 2022, MaxViT, arXiv:2204.01697), its heads narrower than its input."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, groups, tokens, C) → (N, groups, tokens, C)."""
        parts = torch.unflatten(self.to_qkv(x), -1, (3, self.n_heads, -1))
        q, k, v = parts.permute(3, 0, 1, 4, 2, 5).unbind(0)
        logits = q @ (k * self.scale_factor).transpose(-2, -1) + self.get_relative_positional_bias()
        return F.linear((logits.softmax(-1) @ v).transpose(-3, -2).flatten(-2), self.merge.weight, self.merge.bias)
