"""Every example of the README, run."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


READMES = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in ("README.md", "pipelines/README.md", "devices/README.md", "compress/core/README.md")
}


def blocks(language: str, name: str = "README.md") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", READMES[name], flags=re.MULTILINE | re.DOTALL)


def test_the_readme_has_two_screens():
    assert len(README.splitlines()) <= 145


def test_the_recipe_is_valid_but_for_its_photos(tmp_path):
    from compress.config.recipe import load

    (text,) = blocks("yaml")
    (tmp_path / "mine.yaml").write_text(text)
    assert load(tmp_path / "mine.yaml").recipe.name == "my_product"


def test_the_device_profile_loads(tmp_path):
    from compress.config.devices import load_device

    (text,) = blocks("yaml-device", "devices/README.md")
    (tmp_path / "my_board.yaml").write_text(text)
    assert load_device(str(tmp_path / "my_board.yaml")).name == "my_board"


def test_the_python_example_runs_on_the_callers_own_module_and_loaders(tmp_path, monkeypatch):
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    labels = torch.arange(96) % 2
    images = torch.randn(96, 3, 16, 16)
    images[:, 0] += 3.0 * (2 * labels - 1).view(-1, 1, 1)
    sets = [TensorDataset(images[i : i + 32], labels[i : i + 32]) for i in (0, 32, 64)]

    def network(width: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 2),
        ).eval()  # fmt: skip

    train, validation, test = (DataLoader(each, batch_size=16) for each in sets)
    names = {
        "my_network": network(16), "my_teacher": network(32), "class_names": ["dark", "bright"],
        "train_loader": train, "validation_loader": validation, "test_loader": test,
    }  # fmt: skip
    monkeypatch.chdir(tmp_path)
    example = next(block for block in blocks("python") if "Pipeline(" in block)
    assert len(example.strip().splitlines()) < 15
    exec(example, names)  # noqa: S102
    run = names["run"]
    assert [stage.name for stage in run.record.stages] == ["distill", "prune", "quantize", "export", "profile"]
    assert run.verdict.passed
    preprocessing = run.record.spec.preprocessing
    assert (preprocessing.mean, preprocessing.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert run.record.stages[1].after["macs"].value <= 0.6 * run.record.stages[0].after["macs"].value


def test_the_loss_example_is_a_working_term():
    import torch

    from compress.data.batch import Batch
    from compress.tasks.classification import Classification
    from compress.train.loss_term import LossInputs

    names: dict[str, type] = {}
    exec(blocks("python", "compress/core/README.md")[0], names)  # noqa: S102
    z_s, z_t = torch.randn(4, 3), torch.randn(4, 3)
    answers = LossInputs(Batch.of(torch.zeros(4, 3, 8, 8), torch.zeros(4, dtype=torch.int64)), z_s, z_t, Classification())
    assert names["Logits"]().forward(answers) == pytest.approx(float(((z_s - z_t) ** 2).sum() / 4), rel=1e-5)


def test_the_package_of_the_example_adds_its_loss(tmp_path, monkeypatch):
    import tomllib

    from compress.core.registry import ENTRIES
    from compress.core.registry_entry import Registry

    (code,), (text,) = blocks("python", "compress/core/README.md"), blocks("toml", "compress/core/README.md")
    project = tomllib.loads(text)["project"]
    (tmp_path / "my_methods").mkdir()
    (tmp_path / "my_methods" / "__init__.py").touch()
    (tmp_path / "my_methods" / "losses.py").write_text(code, encoding="utf-8")
    info = tmp_path / "my_methods-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    ((group, points),) = project["entry-points"].items()
    rows = [f"{name} = {target}" for name, target in points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *rows, ""]))
    monkeypatch.syspath_prepend(tmp_path)
    row = Registry(ENTRIES).lookup("loss", "my_logits")
    assert row.source == "package my-methods 1.0"
    assert row.load().__name__ == "Logits"


@pytest.mark.parametrize("name", READMES)
def test_every_command_line_names_verbs_and_options_that_exist(name):
    from typer.main import get_command

    from compress.cli import app

    root = get_command(app)
    lines = re.findall(r"`(compress [^`]+)`", READMES[name])
    for block in re.findall(r"(?:^    .*\n)+", READMES[name], flags=re.MULTILINE):
        lines += [line.strip().partition(" #")[0] for line in block.splitlines() if line.startswith("    compress ")]
    for line in lines:
        words = line.split()
        verb = words[1]
        assert verb in root.commands or verb == "--help", line
        command = root.commands[verb]
        command = getattr(command, "commands", {}).get(words[2] if len(words) > 2 else "", command)  # `compress devices new`
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= options | {"--help"}, line


@pytest.mark.parametrize("name", READMES)
def test_links_inside_the_project_lead_somewhere(name):
    headings = {
        re.sub(r"[^\w -]", "", line[3:]).lower().replace(" ", "-") for line in READMES[name].splitlines() if line[:3] == "## "
    }
    for target in re.findall(r"\]\(([^)]+)\)", READMES[name]):
        path, _, heading = target.partition("#")
        if not path.startswith("http"):
            assert ((ROOT / name).parent / path).exists(), target
            assert path or heading in headings, target


def test_the_result_table_is_the_committed_runs():
    record = json.loads((ROOT / "reports" / "example" / "record.json").read_text(encoding="utf-8"))
    final = record["stages"][-1]["after"]
    assert f"{final['accuracy']['value'] * 100:.2f} %" in README
    assert record["recipe"]["name"] == "resnet50_to_mobilenet"


@pytest.mark.parametrize("folder", ["pipelines", "devices"])
def test_the_readme_of_a_folder_lists_every_file_in_it(folder):
    table = (ROOT / folder / "README.md").read_text(encoding="utf-8").partition("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)
    assert sorted(listed) == sorted(path.stem for path in (ROOT / folder).glob("*.yaml"))


def test_the_budget_of_the_recipes_readme_is_one_of_classification():
    import yaml

    from compress.core.budget import Budget
    from compress.tasks.classification import Classification

    text = (ROOT / "pipelines" / "README.md").read_text(encoding="utf-8")
    examples = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)]
    (budget,) = [Budget.model_validate(example["budget"]) for example in examples if "budget" in example]
    assert list(budget.faults("classification", [metric.info for metric in Classification.metrics])) == []
    assert len(budget.limits) == 2


def test_the_examples_of_detectors_in_the_recipes_readme_are_valid():
    import yaml

    from compress.export.stage import Export
    from compress.models.settings import ModelSettings
    from compress.models.sources.torchvision_detection import BUILDERS

    text = (ROOT / "pipelines" / "README.md").read_text(encoding="utf-8").partition("## Detectors")[2].partition("\n## ")[0]
    *networks, stages = (
        yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    )
    assert len(networks) == 3
    for network in networks:
        assert ModelSettings.model_validate(network["model"]).source.partition(":")[2] in BUILDERS
    assert Export.model_validate(stages["stages"][0]["export"]).postprocessing == "both"
    assert all(f"`{name}`" in text for name in BUILDERS)


def test_the_trackers_of_the_recipes_readme_are_valid():
    import yaml

    from compress.config.tracking import Tracking

    text = (ROOT / "pipelines" / "README.md").read_text(encoding="utf-8").partition("## Trackers")[2]
    example = yaml.safe_load(re.findall(r"^```yaml\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)[0])
    read = Tracking.model_validate(example["tracking"])
    assert read.tensorboard
    assert read.mlflow is not None
    assert read.mlflow.uri == "http://127.0.0.1:5000"


def kinds_of_networks() -> dict[str, dict[str, Any]]:
    import yaml

    (text,) = blocks("yaml-kinds")
    return yaml.safe_load(text)


LIKE = {"labels": "multilabel"}
TEXTS = {
    "entities": "token_classification",
    "answers": "question_answering",
    "masked": "masked_language_model",
    "next": "causal_language_model",
    "vectors": "embedding",
    "replies": "causal_language_model",
}
"""Tasks of the examples of texts."""
QUICK = ("labels", "age", "file")
"""Examples that run in every test run; the others are loaded, and run with the slow tests."""


def write_data(kind: str, folder: Path) -> None:
    """The files that an example names."""
    import numpy as np
    from PIL import Image
    from torch import nn

    from compress.core.network_spec import image_spec
    from tests.tasks import kinds

    rng = np.random.default_rng(0)
    (folder / "nets.py").write_text(Path(kinds.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    place = kinds_of_networks()[kind]["data"]["source"].removeprefix("npz:")
    if kind in ("signal", "volume", "labels", "age", "angle"):
        (folder / place).mkdir()
        for seed, split in enumerate(("train", "validation", "test")):
            np.savez(folder / place / f"{split}.npz", **kinds.arrays(kinds.KINDS[LIKE.get(kind, kind)], seed))
        return
    if kind in TEXTS:
        from tests.test_text_chains import table

        header, rows = table(TEXTS[kind])
        if kind == "replies":
            header, rows = ["ask", "reply"], [(text, f"It says {text.split()[0]}.") for (text, *_) in rows]
        with (folder / place.removeprefix("csv:")).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return
    if kind == "file":
        from compress.backends.export_onnx import export_onnx

        spec = image_spec(channels=3, height=8, width=12, mean=(0.0,) * 3, std=(1.0,) * 3, classes=("a", "b"))
        np.savez(folder / "inputs.npz", input=rng.normal(size=(24, *spec.shape)).astype(np.float32))
        export_onnx(nn.Sequential(kinds.body(2, 3), nn.Linear(16, 2)).eval(), spec, folder / "model.onnx")
        return
    if kind in ("speech", "sounds", "voice", "captions", "lines"):
        write_heard_or_seen(kind, folder, place)
        return
    if kind == "text":
        from tests.data.text.toy_texts import write_csv

        write_csv(folder / "reviews.csv", header="review,stars")
        return
    (folder / "streets" / "images").mkdir(parents=True)
    (folder / "streets" / "masks").mkdir()
    (folder / "streets" / "classes.txt").write_text("road\ntree\n")
    images, annotations = [], []
    for index in range(24):
        pixels = rng.integers(0, 100, (32, 48, 3), dtype=np.uint8)
        mask = np.zeros((32, 48), np.uint8)
        top, left = (int(rng.integers(0, limit)) for limit in (16, 24))
        pixels[top : top + 12, left : left + 16] += 120
        mask[top : top + 12, left : left + 16] = 1
        Image.fromarray(pixels).save(folder / "streets" / "images" / f"{index}.png")
        Image.fromarray(mask).save(folder / "streets" / "masks" / f"{index}.png")
        images.append({"id": index, "file_name": f"streets/images/{index}.png", "width": 48, "height": 32})
        annotations.append({"id": index, "image_id": index, "category_id": 1, "bbox": [left, top, 16, 12]})
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "tree"}]}
    (folder / "trees.json").write_text(json.dumps(coco))


def write_heard_or_seen(kind: str, folder: Path, place: str) -> None:
    """Clips with transcripts or classes, images with captions, or lines of text."""
    import numpy as np
    from PIL import Image

    if kind in ("speech", "sounds", "voice"):
        from tests.data.audio.files import change, write_manifest

        path = write_manifest(folder, 60, key="text" if kind == "speech" else "label")
        for index in range(60):
            change(path, index, speech="0.1-0.2")
        path.rename(folder / place.removeprefix("audio_manifest:"))
        return
    column = "caption" if kind == "captions" else "text"
    words = [f"{size} {color} {shape}" for size in ("a small", "a big", "one") for color in ("red", "blue", "green", "grey")
             for shape in ("square", "ring", "cross", "dot", "star")]  # fmt: skip
    for index, _ in enumerate(words):
        Image.fromarray(np.random.default_rng(index).integers(0, 255, (32, 96, 3), dtype=np.uint8)).save(
            folder / f"{index}.png"
        )
    with (folder / f"{kind}.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["image", column], *((f"{index}.png", text) for index, text in enumerate(words))])


def example(kind: str, folder: Path) -> Path:
    """A recipe of the example of a kind of network, with its data."""
    import yaml

    write_data(kind, folder)
    stages = [{"quantize": {"accept_if": None}}, "export"]
    first = [] if kind == "file" else [{"train": {"epochs": 1, "batch_size": 8}}]
    recipe = {"name": kind, **kinds_of_networks()[kind], "stages": [*first, *stages]}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder / "recipe.yaml"


@pytest.mark.parametrize("kind", kinds_of_networks())
def test_the_example_of_a_kind_of_network_is_valid(kind, tmp_path):
    from compress.config.recipe import load

    assert load(example(kind, tmp_path)).recipe.name == kind


@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in kinds_of_networks()]
)
def test_the_example_of_a_kind_of_network_runs(kind, tmp_path):
    from compress import Pipeline

    run = Pipeline.load(example(kind, tmp_path), trust_code=True).run(out=tmp_path, device="cpu")
    assert run.record.metric.label in (run.folder / "report.md").read_text(encoding="utf-8")
    assert len(list(run.folder.glob("artifacts/host/infer.py"))) == 1
