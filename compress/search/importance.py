"""How much of the variance of an objective each parameter explains: fANOVA (Hutter 2014), a random forest over trials."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from compress.core.language import gettext
from compress.search.study import SearchStudy

FEWEST = 8
"""Fewest finished trials for a forest."""


def parameter_importance(study: SearchStudy, objective: str) -> tuple[Mapping[str, float], str]:
    """Shares of the variance of an objective by parameter, the largest first; or none, and why.

    Only parameters that all finished trials have take part: those of an optional stage are left out.

    Args:
        study: The study.
        objective: Name of the objective.
    """
    optuna = study.optuna
    index = list(study.directions).index(objective)
    finished = study.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(finished) < FEWEST:
        return {}, gettext("it needs {fewest} finished trials, and there are {count}", fewest=FEWEST, count=len(finished))
    if len({trial.values[index] for trial in finished}) < 2:
        return {}, gettext("all trials have the same value")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            shares = optuna.importance.get_param_importances(
                study.study,
                evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0),
                target=lambda trial: trial.values[index],
            )
        except (RuntimeError, ValueError) as error:
            return {}, " ".join(str(error).split())[:200]
    return dict(shares), "" if shares else gettext("all trials have the same values")
