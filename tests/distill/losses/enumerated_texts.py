"""All texts of two tokens of a vocabulary of three, with tables for student and teacher."""

from itertools import product

import torch

from compress.data.batch import TARGET, Batch
from compress.train.loss_term import POLICY, SAMPLED, LossInputs

SIZE = 3
TEXTS = list(product(range(SIZE), repeat=2))


def tables(seed):
    """Logits of the first token, (1, V), and of the second one by the first, (V, V), float64 with gradient."""
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, SIZE, generator=draw, dtype=torch.float64).requires_grad_() for rows in (1, SIZE)]


def rows_of(table, text):
    """Logits of both tokens of a text, (2, V)."""
    return torch.cat([table[0], table[1][text[:1]]])


def log_prob(table, text):
    """log p of a text."""
    return rows_of(table, torch.tensor(text)).log_softmax(dim=1).gather(1, torch.tensor(text)[:, None]).sum()


def inputs_of(student, teacher, text, sampled=None):
    """Inputs of a loss for one text that the student drew; `sampled` are log p̃ of its tokens."""
    y = torch.tensor(text)
    z = rows_of(student, y)
    old = z.log_softmax(dim=1).gather(1, y[:, None])[:, 0].detach()
    targets = {TARGET: y[None], POLICY: old[None], SAMPLED: (old if sampled is None else sampled)[None]}
    batch = Batch({"input_ids": y[None]}, targets)
    return LossInputs(batch, z, rows_of(teacher, y).detach(), None, row_targets=y)


def expected_gradient(student, teacher, term):
    """Σ over all texts of p_s(text) · gradient of the summed loss of its tokens, for both tables."""
    total = [torch.zeros_like(table) for table in student]
    for text in TEXTS:
        probability = log_prob(student, text).exp().detach()
        gradients = torch.autograd.grad(2 * probability * term.forward(inputs_of(student, teacher, text)), student)
        total = [each + gradient for each, gradient in zip(total, gradients, strict=True)]
    return total
