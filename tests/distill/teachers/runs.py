"""Settings and helpers of the tests of teachers."""

import torch

from compress.core.stage import Candidate
from compress.distill.teachers.external import write_soft_labels
from compress.distill.teachers.settings import (
    BornAgain,
    MovingAverage,
    ParentTeacher,
    PeerTeachers,
    RecipeTeacher,
    SoftLabelFile,
    StudentSnapshot,
    TemporalEnsemble,
)
from tests.train.toy_training import ToySplit, conv_net, toy_data

QUICK = {"epochs": 2, "batch_size": 16, "lr": 0.02}
CLASSES = toy_data().spec.classes


def candidate(seed=0):
    return Candidate(toy_data().spec, conv_net(seed))


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def probabilities(split, seed=0):
    return torch.randn(len(split), 3, generator=torch.Generator().manual_seed(seed)).softmax(1)


def teacher_config(name, context):
    if name in ("labels", "parquet"):
        file, seed = {"labels": ("soft.safetensors", 0), "parquet": ("soft.parquet", 1)}[name]
        write_soft_labels(context.base / file, probabilities(context.data.train, seed), context.data.train, CLASSES)
        return SoftLabelFile(file=file)
    return {
        "mean": RecipeTeacher(),
        "confidence": RecipeTeacher(combine="confidence"),
        "loss": RecipeTeacher(combine="loss"),
        "parent": ParentTeacher(),
        "snapshot": StudentSnapshot(),
        "average": MovingAverage(decay=0.9),
        "ensemble": TemporalEnsemble(),
        "born": BornAgain(twins=2),
        "mutual": PeerTeachers(peers=2),
    }[name]


def started(teacher, student=None):
    teacher.before_training(student or conv_net(), torch.device("cpu"))
    return teacher


def batch_of(split=None, size=6):
    return next(iter((split or ToySplit(48, 1)).epoch(0, size, 0)))
