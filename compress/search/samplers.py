"""Engines of a search, as Optuna's samplers. Limits of the budget are constraints of all but the random one."""

from __future__ import annotations

import warnings
from typing import Any

from compress.config.search_settings import Engine
from compress.core.seed_of import seed_of
from compress.search.storage import import_optuna

LEAST_RANDOM, MOST_RANDOM = 4, 10
"""Bounds of the number of random trials before a model is used."""


def make_sampler(engine: Engine, *, seed: int, trials: int) -> Any:
    """The sampler of an engine.

    `tpe`: Bergstra 2011, with joint densities of the parameters that a trial has. `nsga2`: Deb 2002. `nsga3`: Deb & Jain 2014.
    `gp`: Gaussian process with expected (hypervolume) improvement.

    Args:
        engine: Its name.
        seed: Seed of its random numbers.
        trials: Number of trials of the study, for the number of random ones at its start and the size of a generation.
    """
    optuna = import_optuna()
    first = min(MOST_RANDOM, max(LEAST_RANDOM, trials // 4))
    population = max(4, min(50, trials // 4))
    seed = seed_of(seed) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if engine == "tpe":
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=first, multivariate=True, group=True)
        if engine == "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=first)
        if engine == "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=population)
        if engine == "nsga3":
            return optuna.samplers.NSGAIIISampler(seed=seed, population_size=population)
        return optuna.samplers.RandomSampler(seed=seed)
