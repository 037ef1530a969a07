"""Modules that were pruned further than their own code allows: attention with fewer heads, blocks that were dropped.

Torch's attention modules take the width of their heads from the width of their input. After heads were removed the two differ;
the module then computes with the shapes of its tensors instead. A dropped residual block keeps its place in the network with
empty tensors and passes its input on. What a module has become is told by its tensors alone, so a checkpoint needs no more.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WINDOWED = ("ShiftedWindowAttention", "ShiftedWindowAttentionV2")
"""Class names of torchvision's window attention (Swin)."""
RELATIVE = ("RelativePositionalMultiHeadAttention",)
"""Of its attention with relative positions within blocks and grids (MaxViT)."""
_MASKED = -100.0
_LARGEST_SCALE = 4.605170185988092
"""ln 100: the limit that Swin V2 sets to the logarithm of its temperature."""


def restore_pruned_forwards(module: nn.Module) -> nn.Module:
    """Give every part whose tensors say that it was narrowed the code that computes with them; the module itself, changed."""
    for part in module.modules():
        mixin = _mixin(part)
        if mixin is not None and not isinstance(part, mixin):
            part.__class__ = _joined(mixin, type(part))
    return module


def is_windowed(part: nn.Module) -> bool:
    """Whether it is torchvision's window attention."""
    return type(part).__name__ in WINDOWED


def is_relative(part: nn.Module) -> bool:
    """Whether it is torchvision's attention with relative positions."""
    return type(part).__name__ in RELATIVE


def is_skipped(part: nn.Module) -> bool:
    """Whether it has parameters and all of them are empty."""
    parameters = list(part.parameters())
    return bool(parameters) and not any(parameter.numel() for parameter in parameters)


def _mixin(part: nn.Module) -> type[nn.Module] | None:
    if isinstance(part, nn.MultiheadAttention) and part.in_proj_weight is not None:
        if part.in_proj_weight.numel() and part.in_proj_weight.shape[0] != 3 * part.embed_dim:
            return PrunedMHA
    elif is_windowed(part):
        qkv, proj = part.get_parameter("qkv.weight"), part.get_parameter("proj.weight")
        if len(qkv) and len(qkv) != 3 * len(proj):
            return PrunedWindowedMHA
    elif is_relative(part):
        qkv, merge = part.get_parameter("to_qkv.weight"), part.get_parameter("merge.weight")
        if len(qkv) and len(qkv) != 3 * len(merge):
            return PrunedRelativeMHA
    return SkippedBlock if is_skipped(part) and any(part.children()) else None


def _joined(mixin: type[nn.Module], original: type[nn.Module]) -> type[nn.Module]:
    """The original class with the mixin's forward, under the original's name, which checkpoints compare."""
    return type(original.__name__, (mixin, original), {"__module__": original.__module__})


class SkippedBlock(nn.Module):
    """Passes its input on."""

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        """The input."""
        return x


class PrunedMHA(nn.Module):
    """Self-attention whose heads together are narrower than its input; over `nn.MultiheadAttention`."""

    in_proj_weight: Tensor
    in_proj_bias: Tensor | None
    out_proj: nn.Linear
    num_heads: int
    batch_first: bool
    dropout: float

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *_: Any, attn_mask: Tensor | None = None, **others: Any
    ) -> tuple[Tensor, None]:
        """Attention over (N, L, E), or (L, N, E) without `batch_first`; the weights are not given back.

        Raises:
            NotImplementedError: Padding is masked, which pruned heads do not know.
        """
        if others.get("key_padding_mask") is not None:
            msg = "attention with pruned heads takes no key_padding_mask"
            raise NotImplementedError(msg)
        biases = self.in_proj_bias.chunk(3) if self.in_proj_bias is not None else (None,) * 3
        weights = zip((query, key, value), self.in_proj_weight.chunk(3), biases, strict=True)
        q, k, v = (self._heads(F.linear(x, weight, bias)) for x, weight, bias in weights)
        probability = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask, dropout_p=probability)
        joined = mixed.transpose(1, 2).flatten(2)
        answer = F.linear(joined, self.out_proj.weight, self.out_proj.bias)
        return answer if self.batch_first else answer.transpose(0, 1), None

    def _heads(self, x: Tensor) -> Tensor:
        """(N, L, inner) or (L, N, inner) → (N, heads, L, width of a head)."""
        ordered = x if self.batch_first else x.transpose(0, 1)
        return torch.unflatten(ordered, -1, (self.num_heads, -1)).transpose(1, 2)


class PrunedWindowedMHA(nn.Module):
    """Attention in shifted windows (Liu et al. 2021, arXiv:2103.14030) whose heads together are narrower than its input."""

    qkv: nn.Linear
    proj: nn.Linear
    num_heads: int
    window_size: list[int]
    shift_size: list[int]
    get_relative_position_bias: Any
    attention_dropout: float
    dropout: float

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
        """What keeps tokens apart that only the shift brought into one window, (windows, tokens, tokens)."""
        if not any(shift):
            return None
        (wh, ww), regions = self.window_size, []
        for size, window, moved in zip((tall, wide), self.window_size, shift, strict=True):
            place = torch.arange(size, device=x.device)
            regions.append((place >= size - window).long() + (place >= size - moved if moved else place >= 0).long())
        label = regions[0][:, None] * 3 + regions[1][None, :]
        windows = label.view(tall // wh, wh, wide // ww, ww).permute(0, 2, 1, 3).reshape(-1, wh * ww)
        return (windows[:, None, :] != windows[:, :, None]).to(x.dtype) * _MASKED


class PrunedRelativeMHA(nn.Module):
    """Attention with relative positions (Tu et al. 2022, MaxViT, arXiv:2204.01697), its heads narrower than its input."""

    to_qkv: nn.Linear
    merge: nn.Linear
    n_heads: int
    scale_factor: float
    get_relative_positional_bias: Any

    def forward(self, x: Tensor) -> Tensor:
        """(N, groups, tokens, C) → (N, groups, tokens, C)."""
        parts = torch.unflatten(self.to_qkv(x), -1, (3, self.n_heads, -1))
        q, k, v = parts.permute(3, 0, 1, 4, 2, 5).unbind(0)
        logits = q @ (k * self.scale_factor).transpose(-2, -1) + self.get_relative_positional_bias()
        return F.linear((logits.softmax(-1) @ v).transpose(-3, -2).flatten(-2), self.merge.weight, self.merge.bias)
