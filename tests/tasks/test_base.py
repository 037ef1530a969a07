"""What a task asks of the data, and what identifies it."""

import pytest
import torch

from compress.core.errors import DataError
from compress.core.network_spec import LOGITS, NetworkSpec, image_spec
from compress.core.signature import BATCH, Signature, TensorSpec
from compress.data.batch import Batch
from compress.tasks.classification import Classification
from compress.tasks.multilabel import MultiLabel

TASK = Classification()
IMAGES = image_spec(channels=3, height=8, width=8, mean=(0.5,) * 3, std=(0.5,) * 3, classes=("a", "b"))


class Weighted(Classification):
    def __init__(self, factor):
        self.factor = factor

    def loss(self, outputs, targets, *, label_smoothing=0.0):
        return self.factor * super().loss(outputs, targets, label_smoothing=label_smoothing)


def spec(*inputs: TensorSpec, outputs=()) -> NetworkSpec:
    return NetworkSpec(signature=Signature(inputs=inputs, outputs=outputs), classes=("a", "b"))


def test_outputs_that_a_source_left_out_are_those_of_the_task():
    signal = TensorSpec(name="signal", shape=(BATCH, 1, 40))
    assert TASK.complete_spec(spec(signal)).signature.outputs == (TensorSpec(name=LOGITS, shape=(BATCH, 2)),)
    assert TASK.complete_spec(IMAGES) == IMAGES


def test_data_for_other_outputs_are_refused():
    masks = TensorSpec(name=LOGITS, shape=(BATCH, 2, "height", "width"))
    with pytest.raises(DataError, match="task classification is for networks that give logits: float32 batch×2; these data"):
        TASK.complete_spec(spec(TensorSpec(name="image", shape=(BATCH, 3, 8, 8)), outputs=(masks,)))


@pytest.mark.parametrize("target", [torch.zeros(2), torch.zeros(2, 2, dtype=torch.int64)])
def test_targets_of_another_kind_are_refused(target):
    images = torch.zeros(2, 3, 8, 8)
    TASK.check_batch(Batch.of(images, torch.zeros(2, dtype=torch.int32)), IMAGES)
    with pytest.raises(DataError, match="needs targets target: int64 batch; the data give target"):
        TASK.check_batch(Batch.of(images, target), IMAGES)


def test_targets_of_another_type_alone_are_to_be_converted():
    images = torch.zeros(2, 3, 8, 8)
    with pytest.raises(DataError, match=r"for 2 samples: convert target to int64$"):
        TASK.check_batch(Batch.of(images, torch.zeros(2)), IMAGES)
    with pytest.raises(DataError, match=r"for 2 samples: convert target to float32$"):
        MultiLabel().check_batch(Batch.of(images, torch.ones(2, 2, dtype=torch.int64)), IMAGES)


def test_inputs_decide_which_capabilities_are_there():
    assert TASK.capabilities_for(IMAGES) == TASK.capabilities
    signal = TASK.capabilities_for(spec(TensorSpec(name="signal", shape=(BATCH, 1, 40))))
    assert TASK.capabilities - signal == {"image_input"}
    tokens = TASK.capabilities_for(spec(TensorSpec(name="tokens", dtype="int64", shape=(BATCH, 9))))
    assert TASK.capabilities - tokens == {"image_input", "continuous_input"}


def test_a_task_of_the_users_own_is_identified_by_its_code_and_values():
    assert TASK.key == "classification"
    assert Weighted(1.0).key == Weighted(1.0).key
    assert Weighted(1.0).key != Weighted(2.0).key
