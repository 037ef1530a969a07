import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compress.core.object_fingerprint import fingerprint_object

SOURCE = """
import torch
from torch import nn
SCALE = 2.0
def halve(x):
    return x / SCALE
class Net(nn.Module):
    def __init__(self, stride=1, act=torch.relu, heads=2):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.act, self.heads = nn.Conv2d(3, 4, 3, stride=stride), act, heads
    def forward(self, x):
        return halve(self.act(self.conv(x)))
def net(**more):
    return Net(**more).eval()
"""


def build(source=SOURCE, **more):
    """A network of the source text, as an edited file would give it."""
    names = {"__name__": "users_own"}
    exec(source, names)  # noqa: S102 - the text above
    return names["net"](**more)


def sha(value):
    return fingerprint_object(value).sha256


def test_equal_networks_have_one_fingerprint():
    assert fingerprint_object(build()).unread == ()
    assert sha(build()) == sha(build()) == sha(build().train())
    assert sha(build().to(memory_format=torch.channels_last)) == sha(build())


@pytest.mark.parametrize("more", [{"stride": 2}, {"act": torch.tanh}, {"heads": 4}, {"act": lambda x: x}, {"act": nn.ReLU()}])
def test_attributes_with_the_same_weights_change_the_fingerprint(more):
    assert sha(build(**more)) != sha(build())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("halve(self.act(self.conv(x)))", "self.act(self.conv(x))"),
        ("x / SCALE", "x / SCALE + 1"),
        ("SCALE = 2.0", "SCALE = 4.0"),
        ("class Net(nn.Module):", "class Net(nn.Module):\n    def extra(self):\n        return 1"),
    ],
)
def test_edited_code_changes_the_fingerprint(old, new):
    assert sha(build(SOURCE.replace(old, new))) != sha(build())


def test_comments_and_moved_lines_do_not_count():
    assert sha(build("# a note\n\n\n" + SOURCE.replace("    def forward", "\n    # another\n    def forward"))) == sha(build())


def test_hooks_frozen_weights_and_sharing_count():
    hooked, frozen = build(), build()
    hooked.register_forward_hook(lambda _, __, output: output * 2)
    frozen.conv.requires_grad_(False)
    layer = nn.Linear(2, 2)
    shared, apart = nn.Sequential(layer, layer), nn.Sequential(layer, nn.Linear(2, 2))
    apart[1].load_state_dict(layer.state_dict())
    assert len({sha(build()), sha(hooked), sha(frozen)}) == 3
    assert sha(shared) != sha(apart)


def test_other_objects_count_by_their_state():
    class Config:
        def __init__(self, width):
            self.width, self.itself = width, self

    values = [
        Config(1),
        Config(2),
        {"a": [1, {2, 3}]},
        {"a": [1, {2, 4}]},
        functools.partial(max, 1),
        functools.partial(max, 2),
    ]
    values += [np.arange(3), np.arange(4), np.array([1, None]), "12", b"12", range(3), torch.float16, print, np.float32]
    assert len({sha(value) for value in values}) == len(values)
    assert sha(Config(1)) == sha(Config(1))


def test_what_cannot_be_read_is_listed():
    net = build()
    net.stream = (number for number in range(3))
    assert fingerprint_object(net).unread == ("stream (generator)",)
    assert fingerprint_object(Path).unread == ()


def test_another_process_gives_the_same_fingerprint():
    code = "import torch; from torch import nn; from compress.core.object_fingerprint import fingerprint_object\n"
    code += "torch.manual_seed(0); net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Linear(8, 2))\n"
    code += "net.names = {'a', 'b', 'c'}; net.register_forward_hook(lambda *_: None); print(fingerprint_object(net).sha256)"
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    ]
    assert len({run.stdout for run in runs}) == 1
    assert len(runs[0].stdout.strip()) == 64
