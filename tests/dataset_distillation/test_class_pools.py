from dataclasses import replace

import pytest
import torch

from compress.core.errors import DataError
from compress.data.batch import UNLABELLED
from tests.dataset_distillation.runs import candidate, stage
from tests.train.toy_training import ToySplit


def unlabelled(classes):
    split = ToySplit(48, 1)
    split.targets = torch.where(torch.isin(split.targets, torch.tensor(classes)), UNLABELLED, split.targets)
    return split


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"images_per_class": 17}, "asked for 17 images per class, and .* class 'red' has 16, 'green' has 16, 'blue' has 16"),
        ({"train": [1]}, "class 'green' has 0; lower images_per_class, or add labelled images"),
        ({"train": [0, 1, 2]}, "class 'red' has 0, 'green' has 0, 'blue' has 0"),
    ],
)
def test_too_few_labelled_images_are_refused(context, more, message):
    train = unlabelled(more["train"]) if "train" in more else context.data.train
    images = more.get("images_per_class", 4)
    with pytest.raises(DataError, match=message):
        stage("distribution", images_per_class=images).run(
            candidate(), replace(context, data=replace(context.data, train=train))
        )


def test_one_class_is_refused(context):
    spec = context.data.spec.model_copy(update={"classes": ("red",)})
    with pytest.raises(DataError, match="needs two classes or more, and the data has one"):
        stage("gradient", teacher="none").run(candidate(), replace(context, data=replace(context.data, spec=spec)))
