"""All samples of a split, and their division over clients and server."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from compress.core.errors import TrainingError
from compress.core.language import gettext
from compress.core.seed_of import seed_of
from compress.data.batch import Split
from compress.train.federated.settings import Dirichlet, FederatedTraining
from compress.train.federated.split_clients import Indices, split_dirichlet, split_iid

READ_BATCH = 256


def read_all(split: Split) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Inputs and targets of all samples, in order and not augmented.

    Raises:
        TrainingError: Samples have different shapes.
    """
    batches = list(split.ordered(READ_BATCH))

    def join(parts: list[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    try:
        return join([batch.inputs for batch in batches]), join([batch.targets for batch in batches])
    except RuntimeError as error:
        msg = gettext("federated training needs samples of one shape; {error}", error=" ".join(str(error).split())[:200])
        raise TrainingError(msg) from error


def batch_of(inputs: Mapping[str, Tensor], rows: Tensor, device: str) -> tuple[Tensor, ...]:
    """Inputs of some samples, on a device."""
    return tuple(tensor[rows].to(device) for tensor in inputs.values())


def divide(stage: FederatedTraining, targets: Mapping[str, Tensor], seed: int) -> tuple[list[Indices], Tensor]:
    """Rows of the samples of each client, and of the server, which has some with `distill` only.

    Raises:
        TrainingError: There are fewer than two samples for each client, or for the server.
    """
    classes = next(iter(targets.values())).numpy()
    own = seed_of("split", seed)
    order = np.random.default_rng(seed_of("server", seed)).permutation(len(classes))
    kept = round(stage.distill.share * len(classes)) if stage.distill else 0
    rows = np.sort(order[kept:])
    if stage.distill and kept < 2:
        msg = gettext(
            "{share:g} of {samples} training samples are too few for the server, which needs two; raise distill.share",
            share=stage.distill.share,
            samples=len(classes),
        )
        raise TrainingError(msg)
    if len(rows) < 2 * stage.clients:
        msg = gettext("{samples} training samples are too few for {clients} clients, which need two each; lower clients",
                      samples=len(rows), clients=stage.clients)  # fmt: skip
        raise TrainingError(msg)
    if isinstance(stage.split, Dirichlet):
        parts = split_dirichlet(classes[rows], stage.clients, stage.split.dirichlet, own)
    else:
        parts = split_iid(len(rows), stage.clients, own)
    return [rows[part] for part in parts], torch.from_numpy(np.sort(order[:kept]))
