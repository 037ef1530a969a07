"""One point of a run's chain, before it is reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compress.core.record import Metrics
from compress.core.stage import Candidate, Context, Outcome
from compress.pipeline.stage_output import StageOutput

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PendingStage:
    """One point of the chain to reach.

    Attributes:
        index: Its place; teachers and the start are 0.
        name: Names its folder.
        key: Identifies its result.
        parameters: For the record.
        given: Makes the candidate to start from, with notes on how it was made.
        run: Does the work.
        reference: Gives the network that checkpoints are read against.
        previous: The point before it.
        trained: Whether accuracy and time are worth measuring.
        trains: Whether every process of a launch takes part.
    """

    index: int
    name: str
    key: str
    parameters: dict[str, Any]
    given: Callable[[], tuple[Candidate, tuple[str, ...]]]
    run: Callable[[Candidate, Context], Outcome]
    reference: Callable[[], nn.Module]
    previous: StageOutput | None = None
    trained: bool = True
    trains: bool = False

    @property
    def before(self) -> Metrics:
        """Scorecard of the candidate given."""
        return self.previous.record.after if self.previous else {}


def identity(candidate: Candidate, context: Context) -> Outcome:  # noqa: ARG001
    """A step that gives back what it was given."""
    return Outcome(candidate)
