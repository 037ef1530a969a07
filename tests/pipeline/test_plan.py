import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from compress import Budget, Data, Distill, Profile, Prune, Quantize
from compress.config.recipe import LoadedRecipe, load, loads
from compress.core.errors import CompressError, ModelError, RecipeError
from compress.core.sentences import render
from compress.pipeline.plan import from_objects, from_recipe
from compress.tasks.classification import Classification


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


def test_networks_of_equal_weights_and_another_computation_share_no_run(data):
    class Net(nn.Module):
        def __init__(self, act, stride=1):
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.head, self.act = nn.Conv2d(3, 4, 3, stride=stride), nn.Linear(4, 2), act

        def forward(self, x):
            return self.head(self.act(self.conv(x)).mean((2, 3)))

    networks = [Net(torch.relu), Net(torch.relu, stride=2), Net(torch.tanh)]
    plans = [from_objects("mine", net, data, [Quantize()]) for net in (*networks, Net(torch.relu))]
    assert len({plan.digest for plan in plans}) == 3
    assert plans[0].digest == plans[3].digest
    assert plans[0].model.key == plans[3].model.key


def test_a_network_that_cannot_be_compared_is_computed_anew_and_a_note_says_so(data):
    class Stream:
        def __deepcopy__(self, memo):
            return self

        def __reduce_ex__(self, protocol):
            raise TypeError

    net = network()
    net.stream = Stream()
    first, second = (from_objects("mine", net, data, [Quantize()]) for _ in range(2))
    assert first.digest != second.digest
    _, (note,) = first.model.build(data.spec)
    assert "stream (Stream)" in render(note)


def test_a_recipes_network_that_cannot_be_compared_has_the_same_note(tmp_path):
    (tmp_path / "own.py").write_text(
        "import torch\n"
        "class Stream:\n"
        "    def __deepcopy__(self, memo):\n        return self\n"
        "    def __reduce_ex__(self, protocol):\n        raise TypeError\n"
        "def net(num_classes, in_channels):\n"
        "    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(in_channels * 64, num_classes))\n"
        "    module.stream = Stream()\n"
        "    return module\n"
    )
    (tmp_path / "r.yaml").write_text(
        "name: own\ndata: {source: digits, image_size: 8, limit: 40, evaluation_limit: 20}\n"
        "model: {source: 'python:own.py:net'}\nstages: [{train: {epochs: 1}}]\n"
    )
    first, second = (from_recipe(load(tmp_path / "r.yaml"), trust_code=True) for _ in range(2))
    assert first.model.key != second.model.key
    _, notes = first.model.build(first.load_data().spec)
    assert any("stream (Stream)" in render(note) for note in notes)


CODE = """
import torch
from compress import Data
from numbers_beside import SIZE
def make(settings):
    images = [torch.full((3, 8, 8), index, dtype=torch.uint8) for index in range(SIZE)]
    part = [(image, index % 2) for index, image in enumerate(images)]
    return part, part, part, ["a", "b"]
"""


def test_data_of_own_code_is_known_by_its_samples_and_every_file_of_the_code(tmp_path):
    (tmp_path / "own.py").write_text(CODE)
    (tmp_path / "r.yaml").write_text(
        "name: own\ndata: {source: 'python:own.py:make', image_size: 8, augment: none}\n"
        "model: {source: 'torchvision:squeezenet1_1'}\nstages: [{train: {epochs: 1}}]\n"
    )
    keys = []
    for size in (4, 6, 4):
        (tmp_path / "numbers_beside.py").write_text(f"SIZE = {size}\n")
        keys.append(from_recipe(load(tmp_path / "r.yaml"), trust_code=True).data_key)
    assert keys[0] == keys[2]
    assert keys[0]["fingerprint"] != keys[1]["fingerprint"]
    assert keys[0]["splits"] != keys[1]["splits"]


def test_a_network_of_own_code_is_known_by_its_weights(tmp_path):
    (tmp_path / "own.py").write_text(
        "from pathlib import Path\nimport torch\n"
        "def net(num_classes, in_channels):\n"
        "    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(in_channels * 64, num_classes))\n"
        "    module.load_state_dict(torch.load(Path(__file__).with_name('w.pt'), weights_only=True))\n"
        "    return module\n"
    )
    (tmp_path / "r.yaml").write_text(
        "name: own\ndata: {source: digits, image_size: 8, limit: 40, evaluation_limit: 20}\n"
        "model: {source: 'python:own.py:net'}\nstages: [{train: {epochs: 1}}]\n"
    )
    keys = []
    for seed in (0, 1, 0):
        torch.manual_seed(seed)
        torch.save({"1.weight": torch.randn(10, 192), "1.bias": torch.randn(10)}, tmp_path / "w.pt")
        keys.append(from_recipe(load(tmp_path / "r.yaml"), trust_code=True).model.key)
    assert keys[0] == keys[2] != keys[1]


@pytest.mark.parametrize("weights_file", [False, True])
def test_a_network_of_own_code_is_built_once_and_every_copy_is_equal(tmp_path, weights_file):
    (tmp_path / "own.py").write_text(
        "from pathlib import Path\nimport torch\n"
        "def net(num_classes, in_channels):\n"
        "    calls = Path(__file__).with_name('calls')\n"
        "    calls.write_text((calls.read_text() if calls.exists() else '') + 'x')\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(in_channels * 64, num_classes))\n"
    )
    torch.save({"1.weight": torch.randn(10, 192), "1.bias": torch.randn(10)}, tmp_path / "w.pt")
    source = "'file:w.pt', architecture: 'python:own.py:net'" if weights_file else "'python:own.py:net'"
    (tmp_path / "r.yaml").write_text(
        "name: own\ndata: {source: digits, image_size: 8, limit: 40, evaluation_limit: 20}\n"
        f"model: {{source: {source}}}\nstages: [{{train: {{epochs: 1}}}}]\n"
    )
    plan = from_recipe(load(tmp_path / "r.yaml"), trust_code=True)
    spec = plan.load_data().spec
    (first, _), (second, _) = plan.model.build(spec), plan.model.build(spec)
    reference, _ = plan.model.build_architecture(spec)
    first[1].weight.data.zero_()
    assert torch.equal(second[1].weight, reference[1].weight)
    assert second[1].weight.any()
    assert (tmp_path / "calls").read_text() == "x"


def test_a_network_passed_in_python_that_does_not_fit_gets_advice_for_python(data):
    with pytest.raises(ModelError, match="a last layer of 2 outputs"):
        from_objects("mine", nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5)), data, [])


def test_the_task_reaches_the_functions_that_build_networks(tmp_path):
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def build(spec, task):\n"
        "    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, spec.head_size))\n"
        "    net.built_for = task.name\n"
        "    return net\n"
    )
    text = "name: mine\ndata: {source: digits, image_size: 8}\nmodel: {source: 'python:net.py:build'}\nstages: [quantize]\n"
    loaded = LoadedRecipe(loads(text, base=tmp_path, trust_code=True), text, tmp_path / "r.yaml", tmp_path)
    plan = from_recipe(loaded, trust_code=True)
    network, _ = plan.model.build(plan.load_data().spec)
    assert network.built_for == plan.task.name == "classification"


def test_an_object_of_a_class_of_the_users_own_is_a_task(data):
    class Doubled(Classification):
        name = "doubled"

    plan = from_objects("mine", network(), data, [Quantize()], task=Doubled())
    assert isinstance(plan.task, Doubled)
    assert plan.digest != from_objects("mine", network(), data, [Quantize()]).digest
    with pytest.raises(CompressError, match=r"unknown task 'clasification': .*classification"):
        from_objects("mine", network(), data, [Quantize()], task="clasification")


def test_a_task_without_labels_compares_with_the_network_at_the_start():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5))
    images = TensorDataset(torch.rand(8, 3, 8, 8), torch.zeros(8, dtype=torch.int64))
    plain = Data.from_loaders(*(DataLoader(images, batch_size=4) for _ in range(3)), task="outputs")
    plan = from_objects("mine", net, plain, [Quantize()], task="outputs")
    loaded = plan.load_data()
    batch = next(iter(loaded.test.ordered(4)))
    torch.testing.assert_close(batch.targets["output_0"], net(batch.input).detach())
    assert loaded.spec.signature.outputs[0].shape == ("batch", 5)
