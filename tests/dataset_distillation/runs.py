"""Settings and helpers of the tests of dataset distillation."""

from compress import DatasetDistillation
from compress.core.stage import Candidate
from tests.train.toy_training import conv_net, toy_data

QUICK = {
    "random": {},
    "herding": {"epochs": 2},
    "gradient": {"iterations": 6, "inner": 3, "network_steps": 1, "batch": 8},
    "distribution": {"iterations": 6, "batch": 8},
    "trajectory": {"iterations": 4, "experts": 2, "epochs": 3, "start": 1, "steps": 2, "lr": 1.0},
    "inversion": {"iterations": 6},
}
MATCHING = ("gradient", "distribution", "trajectory")


class Forbidden:
    """A split that nobody may look at."""

    def __getattr__(self, name):
        raise AssertionError(name)


def stage(name, **more):
    return DatasetDistillation(**{"method": {name: QUICK[name]}, "images_per_class": 4, "width": 8, "depth": 2} | more)


def candidate():
    return Candidate(toy_data().spec, conv_net())
