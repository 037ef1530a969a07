from dataclasses import replace

import pytest
import torch

from compress.core.network_spec import ImagePreprocessing
from compress.core.progress import NullReporter
from compress.core.stage import Candidate, Context
from compress.dataset_distillation.job import SynthesisTask
from compress.tasks.classification import Classification
from tests.dataset_distillation.runs import Forbidden
from tests.train.toy_training import conv_net, toy_data


@pytest.fixture
def context(tmp_path):
    data = toy_data()
    normalisation = ImagePreprocessing(mean=(0.5,) * 3, std=(0.125,) * 3)
    data = replace(data, spec=data.spec.model_copy(update={"preprocessing": normalisation}))
    teacher = conv_net(7)
    teacher.train()
    for batch in data.train.ordered(16):
        teacher(batch.input)
    return Context(
        data=replace(data, test=Forbidden()),
        task=Classification(),
        folder=tmp_path / "stage",
        cache=tmp_path / "cache",
        teachers=(Candidate(data.spec, teacher.eval()),),
        device="cpu",
    )


@pytest.fixture
def task(tmp_path):
    """A synthesis task without images and without a network."""
    return SynthesisTask(
        spec=toy_data().spec, images_per_class=2, width=8, depth=2, operations=(), device=torch.device("cpu"), seed=3,
        folder=tmp_path / "stage", cache=tmp_path / "cache", identity="test", reporter=NullReporter(),
    )  # fmt: skip
