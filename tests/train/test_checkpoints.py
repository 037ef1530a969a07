import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from compress.core.fact import Fact
from compress.train.checkpoints import Checkpoints, network_hash
from tests.train import toy_training
from tests.train.toy_training import SETTINGS, Countdown, conv_net, train


def interrupt():
    raise KeyboardInterrupt


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.fixture
def whole(tmp_path):
    module = conv_net()
    return module, train(module, tmp_path / "whole")


@pytest.mark.parametrize("step", [4, 6, 8, 11])
@pytest.mark.parametrize("update", [{}, {"ema": None}, {"keep": "last"}, {"optimizer": "sgd"}])
def test_an_interrupted_training_ends_bit_for_bit_like_one_that_was_not(tmp_path, step, update):
    settings = SETTINGS.model_copy(update=update)
    reference, module = conv_net(), conv_net()
    expected = train(reference, tmp_path / "whole", settings)
    with pytest.raises(KeyboardInterrupt):
        train(module, tmp_path / "cut", settings, after_step=Countdown(step, interrupt))
    done = Countdown(100, interrupt)
    module = conv_net()
    assert train(module, tmp_path / "cut", settings, after_step=done) == expected
    assert 100 - done.steps == 12 - step // 3 * 3 + (3 if step % 3 == 0 else 0)
    assert same(module, reference)


def test_a_killed_process_is_continued_with_the_same_bits(tmp_path, whole):
    script = Path(toy_training.__file__)
    process = subprocess.run([sys.executable, str(script), "killed", str(tmp_path / "cut")], capture_output=True, check=False)
    assert process.returncode == -9, process.stderr.decode()
    assert (tmp_path / "cut" / "train.checkpoint.pt").exists()
    module, done = conv_net(), Countdown(100, interrupt)
    assert train(module, tmp_path / "cut", after_step=done) == whole[1]
    assert 100 - done.steps == 6
    assert same(module, whole[0])


def test_a_finished_training_returns_at_once_with_the_same_weights(tmp_path, whole):
    assert sorted(path.name for path in (tmp_path / "whole").iterdir()) == ["train.done.json", "train.done.safetensors"]
    module = conv_net()
    assert train(module, tmp_path / "whole", after_step=interrupt) == whole[1]
    assert same(module, whole[0])
    assert not module.training


@pytest.mark.parametrize("change", ["settings", "seed", "weights", "data"])
def test_files_of_another_training_are_not_continued(tmp_path, change):
    with pytest.raises(KeyboardInterrupt):
        train(conv_net(), tmp_path, after_step=Countdown(5, interrupt))
    settings = SETTINGS.model_copy(update={"lr": 0.02}) if change == "settings" else SETTINGS
    more = {"seed": 4} if change == "seed" else {"data": toy_training.toy_data(views=1)} if change == "data" else {}
    steps = Countdown(100, interrupt)
    history = train(conv_net(5 if change == "weights" else 0), tmp_path, settings, after_step=steps, **more)
    assert steps.steps == 100 - 12
    assert history.notes[0] == Fact.of("train.checkpoint_of_other_training", "train.checkpoint.pt")


def test_a_finished_training_with_other_settings_is_done_again(tmp_path, whole):
    steps = Countdown(100, interrupt)
    train(conv_net(), tmp_path / "whole", SETTINGS.model_copy(update={"lr": 0.02}), after_step=steps)
    assert steps.steps == 100 - 12


@pytest.mark.parametrize("harm", ["cut", "flip", "empty", "text"])
def test_a_damaged_checkpoint_is_noted_and_the_training_starts_over(tmp_path, whole, harm):
    with pytest.raises(KeyboardInterrupt):
        train(conv_net(), tmp_path / "cut", after_step=Countdown(8, interrupt))
    file = tmp_path / "cut" / "train.checkpoint.pt"
    content = file.read_bytes()
    where = content.index(toy_training_weight(file))
    flipped = content[:where] + bytes([content[where] ^ 255]) + content[where + 1 :]
    file.write_bytes({"cut": content[:-100], "flip": flipped, "empty": b"", "text": b"not a checkpoint"}[harm])
    module = conv_net()
    history = train(module, tmp_path / "cut")
    note = history.notes[0]
    assert (note.code, note.subject) == ("train.checkpoint_damaged", "train.checkpoint.pt")
    assert same(module, whole[0])


def toy_training_weight(file):
    """Bytes of a weight as they stand in the file."""
    state = torch.load(file, weights_only=True)
    return state["module"]["6.weight"].numpy().tobytes()


@pytest.mark.parametrize("file", ["train.done.safetensors", "train.done.json"])
def test_a_damaged_result_is_computed_again(tmp_path, whole, file):
    path = tmp_path / "whole" / file
    content = bytearray(path.read_bytes())
    content[-20] ^= 255
    path.write_bytes(content)
    module = conv_net()
    train(module, tmp_path / "whole")
    assert same(module, whole[0])


def test_history_round_trips_through_json(whole):
    history = whole[1]
    assert type(history).from_json(json.loads(json.dumps(history.to_json()))) == history


def test_the_hash_of_weights_knows_values_names_and_kinds_but_not_layout():
    module = conv_net()
    before = network_hash(module)
    assert network_hash(conv_net().to(memory_format=torch.channels_last)) == before
    assert network_hash(conv_net(1)) != before
    module[0].weight.data[0, 0, 0, 0] += 1e-6
    assert network_hash(module) != before
    other = conv_net()
    other[2] = torch.nn.ReLU6()
    assert network_hash(other) != before


def test_any_changed_bit_of_a_checkpoint_is_noted(tmp_path):
    files = Checkpoints(tmp_path, "train", "id")
    files.save({"model": {"a": torch.arange(50.0)}, "epoch": 1})
    content = files.checkpoint_path.read_bytes()
    for position in range(len(content) - 900, len(content), 3):
        damaged = bytearray(content)
        damaged[position] ^= 1 << (position % 8)
        files.checkpoint_path.write_bytes(damaged)
        state, note = files.load()
        assert (state is None) != (note is None)


def test_a_layer_under_two_names_is_saved_and_loaded(tmp_path):
    block = nn.Conv2d(3, 3, 3, padding=1)
    net = nn.Sequential(block, nn.ReLU(), block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3)).eval()
    start = copy.deepcopy(net)
    history = train(net, tmp_path)
    again = copy.deepcopy(start)
    assert train(again, tmp_path, after_step=interrupt) == history
    assert again[0] is again[2]
    assert torch.equal(again[0].weight, net[0].weight)
    assert not torch.equal(start[0].weight, net[0].weight)
