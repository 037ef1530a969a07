"""Stage `federated`: training by clients that keep their samples, simulated on one machine."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import ClassVar, Literal, Self

from compress.core.record import Quantity
from compress.core.stage import Candidate, Context, Form, Outcome, Stage
from compress.tasks.capability import Capability
from compress.train.federated.settings import FederatedTraining


class Federated(Stage, FederatedTraining):
    """Train the candidate by federated averaging: in each round clients train copies on their own samples.

    FedAvg (McMahan 2017): w ← w + Σ_k (n_k / n) Δ_k, where Δ_k is the change of client k with n_k samples. With `proximal` μ
    each client minimises its loss + μ/2 ‖w_k − w‖² (FedProx). With `distill` the mean of the clients' logits then teaches the
    average on samples of the server (FedDF). Both directions are compressed alike: the server sends its change
    of the round to all clients. Samples are not augmented, and clients are simulated one after the other.
    """

    accepts: ClassVar[tuple[Form, ...]] = ("torch",)
    produces: ClassVar[Form | Literal["same"]] = "same"
    trains: ClassVar[bool] = True
    requires: ClassVar[tuple[Capability, ...]] = ("class_targets",)

    def run(self, candidate: Candidate, context: Context) -> Outcome:
        """See `compress.train.federated.rounds.train_rounds`."""
        from compress.train.federated.rounds import train_rounds

        module = copy.deepcopy(candidate.network())
        course = train_rounds(module, self, context)
        results = {
            "rounds": Quantity.measured(self.rounds, "1"),
            "round_bytes": Quantity.measured(course.round_bytes, "bytes"),
            "round_bytes_dense": Quantity.measured(course.dense_bytes, "bytes"),
            "round_bytes_share": Quantity.measured(course.round_bytes / course.dense_bytes, "fraction"),
        }
        return Outcome(replace(candidate, module=module), results=results, curves=course.curves(context.task.metric))

    def smoke(self) -> Self:
        """Two rounds of two clients."""
        return self.model_copy(update={"clients": 2, "rounds": 2, "participation": 1.0})
