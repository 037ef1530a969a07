import pytest
import torch

from compress.core.errors import TrainingError
from compress.distill.losses.features import Hint
from compress.distill.losses.response import Response
from compress.train.teachers.base import Teacher
from tests.train.features.networks import staged
from tests.train.toy_training import SETTINGS, conv_net, toy_data, train


class Recording(Teacher):
    """Logits of zeros; records its calls."""

    key = "recording"

    def __init__(self):
        self.calls = []

    def logits(self, batch):
        self.calls.append("logits")
        return torch.zeros(batch.size, 3)

    def before_training(self, student, device):
        assert device == next(student.parameters()).device
        self.calls.append("before_training")

    def after_batch(self, batch, student_logits):
        assert student_logits.shape == (batch.size, 3)
        assert not student_logits.requires_grad
        self.calls.append("after_batch")

    def after_step(self, student):  # noqa: ARG002
        self.calls.append("after_step")

    def after_epoch(self, student, epoch):  # noqa: ARG002
        self.calls.append(f"after_epoch {epoch}")


def test_a_training_calls_its_teacher_in_this_order(tmp_path):
    teacher = Recording()
    settings = SETTINGS.model_copy(update={"epochs": 2, "accumulate": 2})
    train(conv_net(), tmp_path, settings, terms=(Response(),), teacher=teacher)
    batch = ["logits", "after_batch"]
    epoch = [*batch, *batch, "after_step", *batch, "after_step"]
    assert teacher.calls == ["before_training", *epoch, "after_epoch 0", *epoch, "after_epoch 1"]


def test_a_teacher_with_nothing_but_logits_has_defaults_for_the_rest():
    teacher = Teacher()
    a, b = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(teacher.combine([a, b], torch.zeros(4)), (a + b) / 2)
    assert teacher.networks(torch.device("cpu")) == []
    assert teacher.precompute(range(3)) is None
    assert teacher.state_dict() == {}
    with pytest.raises(NotImplementedError, match="Teacher must define `logits`"):
        teacher.logits(next(iter(toy_data().train.ordered(2))))


def test_a_teacher_without_a_network_cannot_be_looked_into(tmp_path):
    class Voice(Teacher):
        key = "v"

        def logits(self, batch):
            return torch.zeros(len(batch.target), 3)

    settings = SETTINGS.model_copy(update={"epochs": 1})
    with pytest.raises(TrainingError, match=r"loss 'hint' needs the teacher's network, but this teacher has none"):
        train(staged(), tmp_path, settings, terms=(Hint(),), teacher=Voice())
    assert train(staged(), tmp_path, settings, terms=(Response(),), teacher=Voice()).epochs == 1
