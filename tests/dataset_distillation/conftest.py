from dataclasses import replace

import pytest
import torch

from compress.core.network_spec import ImagePreprocessing
from compress.core.progress import NullReporter
from compress.core.stage import Candidate
from compress.dataset_distillation.job import SynthesisTask
from tests.dataset_distillation.runs import Forbidden
from tests.train.toy_training import conv_net, toy_data


@pytest.fixture
def context(make_context):
    data = toy_data()
    normalisation = ImagePreprocessing(mean=(0.5,) * 3, std=(0.125,) * 3)
    data = replace(data, spec=data.spec.model_copy(update={"preprocessing": normalisation}))
    teacher = conv_net(7)
    teacher.train()
    for batch in data.train.ordered(16):
        teacher(batch.input)
    return make_context(replace(data, test=Forbidden()), teachers=(Candidate(data.spec, teacher.eval()),))


@pytest.fixture
def task(tmp_path):
    """A synthesis task without images and without a network."""
    return SynthesisTask(
        spec=toy_data().spec, images_per_class=2, width=8, depth=2, operations=(), device=torch.device("cpu"), seed=3,
        folder=tmp_path / "stage", cache=tmp_path / "cache", identity="test", reporter=NullReporter(),
    )  # fmt: skip
