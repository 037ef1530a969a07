"""Training of the head of `whisper_ctc.py` on features of the frozen encoder, which are computed once for each clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from compress.data.characters import BLANK
from tests.benchmarks.whisper_ctc import WhisperTeacher

RATE, BATCH, LR = 8000, 16, 2e-3
Wave = NDArray[np.float32]


def train_head(network: WhisperTeacher, clips: Sequence[tuple[Wave, Sequence[int]]], out: Path, *, epochs: int) -> None:
    """Train the head in place and write its weights.

    Args:
        network: The network.
        clips: Samples at 8 kHz and classes of the characters of each clip.
        out: A safetensors file.
        epochs: Passes over the clips.
    """
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    states = [_states(network, wave) for wave, _ in clips]
    order = np.argsort([len(wave) for wave, _ in clips])
    batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    optimizer = torch.optim.AdamW(network.head.parameters(), lr=LR, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=epochs * len(batches))
    network.head.train()
    for _ in range(epochs):
        for number in generator.permutation(len(batches)):
            rows = batches[number]
            loss = _loss(network, [states[row] for row in rows], [clips[row][1] for row in rows])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(network.head.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    network.eval()
    save_file(network.head.state_dict(), out)


def _states(network: WhisperTeacher, wave: Wave) -> Tensor:
    """Features of all layers, float16 (L, T, D)."""
    audio = torch.from_numpy(wave)[None]
    states, _ = network.stacked(audio, torch.ones_like(audio, dtype=torch.long))
    return states[0].half()


def _loss(network: WhisperTeacher, states: Sequence[Tensor], targets: Sequence[Sequence[int]]) -> Tensor:
    """CTC loss of a batch."""
    lengths = torch.tensor([each.shape[1] for each in states])
    longest = int(lengths.max())
    padded = torch.stack([F.pad(each.float(), (0, 0, 0, longest - each.shape[1])) for each in states])
    frames = (torch.arange(longest)[None] < lengths[:, None]).float()
    log_p = network.head(padded, frames).log_softmax(2).transpose(0, 1)
    flat = torch.tensor([number for target in targets for number in target])
    return F.ctc_loss(log_p, flat, lengths, torch.tensor([len(each) for each in targets]), blank=BLANK, zero_infinity=True)
