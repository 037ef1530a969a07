import pytest

from compress.search.samplers import make_sampler
from compress.search.storage import import_optuna


def run(engine: str, trials: int) -> list[float]:
    optuna = import_optuna()
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=make_sampler(engine, seed=0, trials=trials))
    for _ in range(trials):
        trial = study.ask()
        x = trial.suggest_float("x", 0.0, 1.0)
        trial.set_constraint("x", 0.8 - x)
        study.tell(trial, [x, (x - 0.9) ** 2])
    return [trial.params["x"] for trial in study.trials]


@pytest.mark.parametrize(("engine", "trials"), [("tpe", 20), ("nsga2", 20), ("nsga3", 20), ("gp", 6), ("random", 20)])
def test_every_engine_is_repeatable(engine, trials):
    values = run(engine, trials)
    assert values == run(engine, trials)
    assert len(set(values)) == trials


def test_limits_are_constraints():
    free = sum(x >= 0.8 for x in run("random", 60)[30:])
    assert sum(x >= 0.8 for x in run("tpe", 60)[30:]) > 1.5 * free
