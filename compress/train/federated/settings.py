"""Settings of federated training. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from compress.core.frozen_model import FrozenModel


class UpdateCompression(FrozenModel):
    """What is sent of an update: its largest entries, in few bits. The rest is kept, and added to the next update.

    Attributes:
        keep: Fraction of the entries that are sent, those of largest magnitude over the whole network; 1 sends all.
        bits: Bits of a value: 32 for float32, else whole numbers with one scale, rounded at random without bias.
        error_feedback: Whether what is not sent is added to the next update of the same sender.
    """

    keep: float = Field(default=1.0, gt=0.0, le=1.0)
    bits: Literal[4, 8, 16, 32] = 32
    error_feedback: bool = True


class ServerDistillation(FrozenModel):
    """Distillation of the clients into the averaged network, on samples of the server, whose labels are not used (FedDF).

    Attributes:
        share: Fraction of the training samples that the server has, and no client.
        epochs: Passes over them in a round.
        batch_size: Samples per batch.
        lr: Learning rate of Adam in the first step of a round.
        temperature: T of the softmax of both.
    """

    share: float = Field(default=0.1, gt=0.0, lt=1.0)
    epochs: int = Field(default=5, ge=1)
    batch_size: int = Field(default=32, ge=2)
    lr: float = Field(default=0.001, gt=0.0)
    temperature: float = Field(default=1.0, gt=0.0)


class Dirichlet(FrozenModel):
    """A split in which each class has its own shares of the clients, drawn from a Dirichlet distribution.

    Attributes:
        dirichlet: Concentration α: small values give each client few classes, large ones the same mixture to all.
    """

    dirichlet: float = Field(gt=0.0, le=1e6)


class FederatedTraining(FrozenModel):
    """Clients, rounds, local training, and what is sent.

    Attributes:
        clients: Number of clients.
        rounds: Number of rounds.
        participation: Fraction of the clients that take part in a round, at least one.
        split: `iid` for random parts of equal size, or `{dirichlet: α}`.
        local_epochs: Passes of a client over its samples in a round.
        batch_size: Samples per batch of a client.
        optimizer: Optimizer of a client, which starts anew in each round.
        lr: Learning rate in the first round.
        schedule: `cosine` over the rounds, or `constant`.
        weight_decay: Weight decay.
        clip: Largest gradient norm of a client; None does not clip.
        proximal: μ of FedProx; 0 is FedAvg.
        update: What is sent.
        distill: Distillation on the server after each round; None for the average alone.
        keep: Result: the `best` weights by validation, or the `last`.
    """

    clients: int = Field(default=10, ge=2)
    rounds: int = Field(default=20, ge=1)
    participation: float = Field(default=1.0, gt=0.0, le=1.0)
    split: Literal["iid"] | Dirichlet = "iid"
    local_epochs: int = Field(default=1, ge=1)
    batch_size: int = Field(default=16, ge=1)
    optimizer: Literal["adamw", "sgd"] = "sgd"
    lr: float = Field(default=0.05, gt=0.0)
    schedule: Literal["cosine", "constant"] = "cosine"
    weight_decay: float = Field(default=0.0, ge=0.0)
    clip: float | None = Field(default=None, gt=0.0)
    proximal: float = Field(default=0.0, ge=0.0)
    update: UpdateCompression = UpdateCompression()
    distill: ServerDistillation | None = None
    keep: Literal["best", "last"] = "best"
