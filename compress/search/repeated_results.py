"""Results of trials that were timed again.

A storage keeps finished trials as they are, so that the engine has the first result; the later one is an attribute of the
study.
"""

from __future__ import annotations

from typing import Any

from compress.search.measure_trial import TrialResult

PREFIX = "repeated:"
FIRST = ("computed_s", "wall_s", "energy_j", "estimated_ms")
"""What a trial took and what was estimated, which stay those of its run."""


class RepeatedResults:
    """The repeated results of a study.

    Args:
        study: The study of Optuna.
    """

    def __init__(self, study: Any) -> None:
        self._study = study

    def results(self) -> dict[int, TrialResult]:
        """The latest result of each trial that was timed again, by number."""
        return {number: TrialResult.model_validate(result) for number, (_, result) in self._stored().items()}

    def sessions(self, number: int) -> int:
        """How often a trial was timed again."""
        return self._stored().get(number, (0, None))[0]

    def put(self, number: int, first: TrialResult, again: TrialResult) -> None:
        """Keep the result of one more session.

        Args:
            number: Number of the trial.
            first: Its result so far.
            again: The new one.
        """
        result = again.model_copy(update={name: getattr(first, name) for name in FIRST})
        self._study.set_user_attr(f"{PREFIX}{number}", [self.sessions(number) + 1, result.model_dump(mode="json")])

    def _stored(self) -> dict[int, tuple[int, Any]]:
        found = {key: value for key, value in self._study.user_attrs.items() if key.startswith(PREFIX)}
        return {int(key.removeprefix(PREFIX)): (int(count), result) for key, (count, result) in found.items()}
