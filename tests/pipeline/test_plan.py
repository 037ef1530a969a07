import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from compress import Budget, Data, Distill, Profile, Prune, Quantize
from compress.core.errors import RecipeError
from compress.pipeline.plan import from_objects


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))


@pytest.fixture(scope="module")
def data() -> Data:
    samples = TensorDataset(torch.zeros(8, 3, 8, 8), torch.tensor([0, 1] * 4))
    return Data.from_loaders(*(DataLoader(samples, batch_size=4) for _ in range(3)), classes=["a", "b"])


def test_an_impossible_order_is_refused_before_anything_runs(data):
    with pytest.raises(RecipeError, match="move prune before quantize"):
        from_objects("mine", network(), data, [Quantize(), Prune(target={"macs": 0.5})])


def test_distilling_without_a_teacher_is_refused(data):
    with pytest.raises(RecipeError, match="teacher"):
        from_objects("mine", network(), data, [Distill()])


def test_all_faults_are_told_at_once(data):
    with pytest.raises(RecipeError) as caught:
        from_objects(
            "mine", network(), data, [Distill(), Profile(devices=("jetson_orin_nan",))], budget=Budget(power_w={"host": 1})
        )
    assert len(caught.value.issues) == 3


def test_limits_and_profiles_meet_under_the_devices_own_name(data):
    plan = from_objects("mine", network(), data, [Profile(devices=("jetson",))], budget=Budget(latency_ms={"jetson": 5}))
    assert plan.targets == plan.stages[0].devices
    assert plan.budget is not None
    assert set(plan.budget.latency_ms) == set(plan.targets)


def test_the_digest_follows_weights_stages_and_seed(data):
    torch.manual_seed(0)
    first, other = network(), network()
    digests = {
        from_objects("mine", net, data, [Quantize(per_channel=flag)], seed=seed).digest
        for net in (first, other)
        for flag in (True, False)
        for seed in (0, 1)
    }
    assert len(digests) == 8
    again = from_objects("mine", first, data, [Quantize(per_channel=True)], seed=0)
    assert again.digest in digests
