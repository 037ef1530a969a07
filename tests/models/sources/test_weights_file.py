from __future__ import annotations

import copy
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch_pruning as tp
from safetensors.torch import save_file, save_model
from torch import nn
from torchvision import models

from compress.core.errors import ModelError
from compress.core.network_spec import NetworkSpec
from compress.core.sentences import render
from compress.models import checkpoint
from compress.models.factory import BuiltModel, build_model
from compress.models.settings import ModelSettings

MakeSpec = Callable[..., NetworkSpec]
THIN = {"width_mult": 0.25}


def thin(classes: int = 10) -> nn.Module:
    return models.mobilenet_v2(num_classes=classes, **THIN).eval()


def from_file(path: Path, spec: NetworkSpec, architecture: str = "torchvision:mobilenet_v2", **fields: Any) -> BuiltModel:
    fields = {"args": THIN} | fields
    settings = ModelSettings(source=f"file:{path.name}", architecture=architecture, **fields)
    return build_model(settings, spec, seed=0, base=path.parent)


def agree(module: nn.Module, source: nn.Module, size: int = 32) -> bool:
    images = torch.rand(2, 3, size, size)
    with torch.no_grad():
        return torch.allclose(module(images), source(images))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {f"module.{key}": value for key, value in state.items()}, "best": 0.9},
        lambda state: {f"_orig_mod.module.{key}": value for key, value in state.items()},
        lambda state: {f"module._orig_mod.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}, "best_acc1": torch.tensor(71.2)},
        lambda state: {"n_averaged": torch.tensor(3)} | {f"module.{key}": value for key, value in state.items()},
        lambda state: {
            "state_dict": {f"model.{key}": value for key, value in state.items()} | {"criterion.weight": torch.ones(4)}
        },
        lambda state: {"ema": {f"module.{key}": value for key, value in state.items()}},
    ],
    ids=(
        [
            "bare",
            "state_dict",
            "wrapped",
            "compiled",
            "parallel-compiled",
            "tensor-beside",
            "averaged",
            "lightning",
            "averaged-alone",
        ]
    ),
)
def test_torch_files_of_training_scripts_are_read(wrap: Callable[[Any], Any], tmp_path: Path, make_spec: MakeSpec) -> None:
    source = thin()
    torch.save(wrap(source.state_dict()), tmp_path / "w.pth")
    assert agree(from_file(tmp_path / "w.pth", make_spec()).module, source)


def test_plain_safetensors_are_read(tmp_path: Path, make_spec: MakeSpec) -> None:
    source = thin()
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    assert agree(from_file(tmp_path / "w.safetensors", make_spec()).module, source)


@pytest.mark.parametrize("stem", [False, True])
def test_a_pruned_checkpoint_comes_back_with_its_structure_and_stem(stem: bool, tmp_path: Path, make_spec: MakeSpec) -> None:
    settings = ModelSettings(source="torchvision:resnet18", small_stem=stem)
    reference = build_model(settings, make_spec(), seed=0, base=tmp_path).module
    module = copy.deepcopy(reference)
    pruner = tp.pruner.BasePruner(
        module, torch.rand(1, 3, 32, 32), tp.importance.MagnitudeImportance(), pruning_ratio=0.5, ignored_layers=[module.fc]
    )
    pruner.step()
    checkpoint.save(module.eval(), reference, tmp_path / "w.safetensors")
    back = from_file(tmp_path / "w.safetensors", make_spec(), "torchvision:resnet18", args={}, small_stem=stem)
    assert agree(back.module, module)
    assert sum("small_stem" in render(note) for note in back.notes) == 2 * stem


def test_a_checkpoint_with_another_stem_is_refused(tmp_path: Path, make_spec: MakeSpec) -> None:
    module = build_model(
        ModelSettings(source="torchvision:resnet18", small_stem=True), make_spec(), seed=0, base=tmp_path
    ).module
    checkpoint.save(module, module, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"maxpool.*small_stem"):
        from_file(tmp_path / "w.safetensors", make_spec(), "torchvision:resnet18", args={})


@pytest.mark.parametrize("own", [True, False], ids=["checkpoint", "state dict"])
def test_a_head_that_does_not_fit_says_so_and_is_replaced_on_request(own: bool, tmp_path: Path, make_spec: MakeSpec) -> None:
    source, path = thin(classes=20), tmp_path / "w.safetensors"
    checkpoint.save(source, source, path) if own else save_file(source.state_dict(), path)
    with pytest.raises(ModelError, match=r"class-count mismatch: .* 20 classes, the data has 10.*num_classes: 20"):
        from_file(path, make_spec())
    fitted = from_file(path, make_spec(), args={**THIN, "num_classes": 20})
    assert fitted.module(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    assert torch.equal(fitted.module.features[0][0].weight, source.features[0][0].weight)
    assert any("20 → 10" in render(note) for note in fitted.notes)


@pytest.mark.parametrize("own", [True, False], ids=["checkpoint", "state dict"])
def test_the_first_layer_meets_grey_images_with_the_files_own_weights(own: bool, tmp_path: Path, make_spec: MakeSpec) -> None:
    source, path = thin(), tmp_path / "w.safetensors"
    checkpoint.save(source, source, path) if own else save_file(source.state_dict(), path)
    grey = from_file(path, make_spec(channels=1)).module
    image = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(grey(image), source(image.repeat(1, 3, 1, 1)))


def test_grey_weights_are_read_for_grey_images(tmp_path: Path, make_spec: MakeSpec) -> None:
    source = build_model(
        ModelSettings(source="torchvision:mobilenet_v2", args=THIN), make_spec(channels=1), seed=3, base=tmp_path
    ).module
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    image = torch.rand(2, 1, 32, 32)
    back = from_file(tmp_path / "w.safetensors", make_spec(channels=1)).module
    torch.testing.assert_close(back(image), source(image))


def test_keys_that_do_not_fit_are_listed(tmp_path: Path, make_spec: MakeSpec) -> None:
    state = dict(thin().state_dict())
    state["features.0.0.other"] = state.pop("features.0.0.weight")
    state["features.18.0.weight"] = torch.zeros(3)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ModelError) as caught:
        from_file(tmp_path / "w.safetensors", make_spec())
    for said in ("1 missing (features.0.0.weight)", "1 unexpected (features.0.0.other)", "features.18.0.weight (3,) for"):
        assert said in str(caught.value)


def test_training_only_heads_in_a_file_are_passed_over(tmp_path: Path, make_spec: MakeSpec) -> None:
    source = models.googlenet(num_classes=10, aux_logits=True, init_weights=False).eval()
    torch.save(source.state_dict(), tmp_path / "w.pt")
    built = from_file(tmp_path / "w.pt", make_spec(), "torchvision:googlenet", args={})
    assert agree(built.module, source)
    assert any("entries of w.pt belong to heads that only training uses" in render(note) for note in built.notes)


class Runs:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path, make_spec: MakeSpec) -> None:
    torch.save({"state_dict": Runs(tmp_path / "ran")}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"refused.*could run code.*convert it once"):
        from_file(tmp_path / "w.pth", make_spec())
    assert not (tmp_path / "ran").exists()


def test_a_whole_pickled_module_is_refused(tmp_path: Path, make_spec: MakeSpec) -> None:
    torch.save(thin(), tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"refused: it holds a pickled torchvision\.models\.mobilenetv2\.MobileNetV2"):
        from_file(tmp_path / "w.pth", make_spec())


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"\x08\x00\x00\x00\x00\x00\x00\x00{}{}{}{}"])
def test_damaged_files_are_an_error_of_the_users(name: str, content: bytes, tmp_path: Path, make_spec: MakeSpec) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=r"w\.(pth|safetensors)"):
        from_file(tmp_path / name, make_spec())


def test_half_precision_is_read_as_float32_and_noted(tmp_path: Path, make_spec: MakeSpec) -> None:
    source = thin().half().float()
    save_file({key: value.half() if value.is_floating_point() else value for key, value in source.state_dict().items()},
              tmp_path / "w.safetensors")  # fmt: skip
    built = from_file(tmp_path / "w.safetensors", make_spec())
    assert agree(built.module, source)
    assert any("converted from float16 to float32" in render(note) for note in built.notes)


def test_lightning_weights_of_a_timm_network_are_read(tmp_path: Path, make_spec: MakeSpec) -> None:
    timm = pytest.importorskip("timm")
    source = timm.create_model("mobilenetv3_small_050", num_classes=10).eval()
    state = {f"model.net.{key}": value for key, value in source.state_dict().items()}
    torch.save({"state_dict": state, "hyper_parameters": {"lr": 0.1}}, tmp_path / "w.ckpt")
    assert agree(from_file(tmp_path / "w.ckpt", make_spec(), "timm:mobilenetv3_small_050", args={}).module, source)


def test_names_of_older_torchvision_files_are_read(tmp_path: Path, make_spec: MakeSpec) -> None:
    tiny = {"num_layers": 1, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    source = build_model(ModelSettings(source="torchvision:vit_b_16", args=tiny), make_spec(), seed=1, base=tmp_path).module
    old = {key.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): value
           for key, value in source.state_dict().items()}  # fmt: skip
    assert old.keys() != source.state_dict().keys()
    torch.save(old, tmp_path / "w.pth")
    assert agree(from_file(tmp_path / "w.pth", make_spec(), "torchvision:vit_b_16", args=tiny).module, source)


def test_a_tensor_that_safetensors_stores_once_is_not_missing(tmp_path: Path, make_spec: MakeSpec) -> None:
    (tmp_path / "tied.py").write_text(
        "from torch import nn\n"
        "def net(num_classes=10):\n"
        "    m = nn.Sequential(nn.Flatten(), nn.Linear(3072, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, num_classes))\n"
        "    m[3].weight = m[2].weight\n"
        "    return m\n",
        encoding="utf-8",
    )
    settings = ModelSettings(source="python:tied.py:net")
    source = build_model(settings, make_spec(), seed=1, base=tmp_path, trust_code=True).module
    save_model(source, str(tmp_path / "w.safetensors"))
    settings = ModelSettings(source="file:w.safetensors", architecture="python:tied.py:net")
    back = build_model(settings, make_spec(), seed=2, base=tmp_path, trust_code=True).module
    assert agree(back, source)
    assert back[3].weight is back[2].weight


def test_a_file_without_a_state_dict_and_a_missing_one_are_errors(tmp_path: Path, make_spec: MakeSpec) -> None:
    torch.save({"epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="holds no state dict"):
        from_file(tmp_path / "w.pt", make_spec())
    with pytest.raises(ModelError, match="no weights file"):
        from_file(tmp_path / "gone.pt", make_spec())


def test_averaged_weights_beside_the_others_are_named_and_used_on_request(tmp_path: Path, make_spec: MakeSpec) -> None:
    torch.manual_seed(0)
    current, averaged = thin(), thin()
    torch.save({"state_dict": current.state_dict(), "state_dict_ema": averaged.state_dict()}, tmp_path / "w.pth")
    built = from_file(tmp_path / "w.pth", make_spec())
    assert agree(built.module, current)
    assert any("set weights: state_dict_ema" in render(note) for note in built.notes)
    assert agree(from_file(tmp_path / "w.pth", make_spec(), weights="state_dict_ema").module, averaged)
    with pytest.raises(ModelError, match=r"no state dict under 'state_dict_emma': .*state_dict_ema"):
        from_file(tmp_path / "w.pth", make_spec(), weights="state_dict_emma")


def test_single_changed_bits_of_an_old_torch_file_are_refused_or_read(tmp_path: Path, make_spec: MakeSpec) -> None:
    state = {key: value[:1].clone() for key, value in thin().state_dict().items() if value.ndim}
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    content, chance = (tmp_path / "old.pth").read_bytes(), random.Random(0)
    for _ in range(60):
        damaged = bytearray(content)
        damaged[chance.randrange(4000)] ^= 1 << chance.randrange(8)
        (tmp_path / "w.pth").write_bytes(damaged)
        with pytest.raises(ModelError):
            from_file(tmp_path / "w.pth", make_spec())
