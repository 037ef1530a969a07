import pytest

from compress.core.class_comparison import ClassComparison
from compress.core.fact import Fact
from compress.core.record import Quantity
from compress.core.run_record import RunRecord
from compress.pipeline.card.bill_of_materials import bill_of_materials
from compress.pipeline.card.contents import (
    artifact_files,
    artifact_rows,
    data_name,
    short_source,
    source_networks,
    weaknesses,
)


def test_the_files_that_ship_are_those_of_the_export_by_device(example: RunRecord) -> None:
    files = artifact_files(example)
    export = next(stage for stage in example.stages if stage.name == "export")
    assert set(files) == {"host", "mobile_cpu", "desktop_gpu", "jetson_orin_nano", "torch"}
    assert files["host"]["model.onnx"] == export.files["artifacts/host/model.onnx"]
    assert artifact_files(example.model_copy(update={"stages": ()})) == {}


def test_rows_are_those_of_the_artifact_alone(example: RunRecord, record: RunRecord) -> None:
    assert [row.device for row in artifact_rows(example)] == ["host", "mobile_cpu", "jetson_orin_nano", "desktop_gpu"]
    assert {row.subject for row in artifact_rows(record)} == {"artifact"}


@pytest.mark.parametrize(
    ("source", "short"),
    [
        ("digits", "digits"),
        ("imagefolder:/home/me/photos", "imagefolder:photos"),
        ("imagefolder:/home/me/photos/", "imagefolder:photos"),
        (r"npz:C:\data\x.npz", "npz:x.npz"),
        ("torchvision:resnet18", "torchvision:resnet18"),
        ("python:nets/a.py:network", "python:a.py:network"),
    ],
)
def test_the_folders_of_this_machine_are_left_out(source: str, short: str, example: RunRecord) -> None:
    assert short_source(source) == short
    assert data_name(example.model_copy(update={"data": {"source": source}})) == short


@pytest.mark.parametrize(
    ("settings", "is_pretrained", "hub_name"),
    [
        ({"source": "torchvision:resnet18", "weights": None}, False, ""),
        ({"source": "torchvision:resnet18", "weights": "DEFAULT"}, True, ""),
        ({"source": "timm:resnet18.a1_in1k", "weights": "DEFAULT"}, True, "timm/resnet18.a1_in1k"),
        ({"source": "timm:resnet18.a1_in1k", "weights": None}, False, ""),
        ({"source": "timm:resnet18", "weights": "DEFAULT"}, True, ""),
        ({"source": "hf:models/vit", "weights": None}, True, ""),
        ({"source": "hf:models/vit", "weights": "fresh"}, False, ""),
        ({"source": "file:/x/last.ckpt", "architecture": "timm:resnet18"}, True, ""),
        ({"settings": {"source": "onnx:model.onnx"}}, True, ""),
        ({"source": "python:nets.py:network"}, False, ""),
    ],
)
def test_pretrained_networks_are_named(
    settings: dict[str, object], is_pretrained: bool, hub_name: str, example: RunRecord
) -> None:
    changed = example.model_copy(update={"recipe": {"model": settings, "teacher": None}})
    (network,) = source_networks(changed)
    assert (network.role, network.pretrained, network.hub_name) == ("network", is_pretrained, hub_name)


def test_teachers_follow_the_network(example: RunRecord) -> None:
    assert [(each.role, each.source) for each in source_networks(example)] == [
        ("network", "torchvision:mobilenet_v2"),
        ("teacher", "torchvision:resnet50"),
    ]


def test_a_copy_of_the_teacher_is_of_what_the_teacher_is_of(example: RunRecord) -> None:
    recipe = {**example.recipe, "model": {"source": "teacher"}, "teacher": {"source": "hf:net", "weights": None}}
    network, teacher = source_networks(example.model_copy(update={"recipe": recipe}))
    assert (network.source, network.pretrained, teacher.source) == ("hf:net", True, "hf:net")


def test_the_callers_own_network_is_named_by_its_class(example: RunRecord) -> None:
    recipe = {"model": {"class": "nets.Mine"}, "teacher": []}
    (network,) = source_networks(example.model_copy(update={"recipe": recipe}))
    assert network.source == "the caller's own nets.Mine"


def test_weaknesses_are_warnings_and_limits_that_are_not_met(example: RunRecord, record: RunRecord) -> None:
    facts = Fact.of("quantize.nothing_in_int8"), Fact.of("train.smoke_keeps_texts", count=3)
    warned = [stage.model_copy(update={"warnings": (fact,)}) for stage, fact in zip(example.stages, facts, strict=False)]
    lines = list(weaknesses(example.model_copy(update={"stages": tuple(warned)})))
    assert any(line.startswith("1 · distill: ") for line in lines)
    assert any(line.startswith("2 · prune: ") for line in lines)
    repeated = [stage.model_copy(update={"warnings": facts[:1]}) for stage in example.stages[:2]]
    lines = list(weaknesses(example.model_copy(update={"stages": tuple(repeated)})))
    assert sum(line.startswith("1 · distill, 2 · prune: ") for line in lines) == 1
    assert not any(line.startswith(("1 · distill: ", "2 · prune: ")) for line in lines)
    missed = [line for line in weaknesses(record) if "missed" in line or "not shown" in line]
    assert len(missed) == sum(check.result != "met" for check in record.verdict.checks)  # type: ignore[union-attr]
    assert next(weaknesses(example.model_copy(update={"smoke": True}))).startswith("smoke run")


COMPARISON = {
    "reference": "teacher", "samples": 8, "equal": 0.5, "equal_low": 0.2, "equal_high": 0.8, "only_reference": 3,
    "only_network": 1, "p_value": 0.6, "class_count": 1, "confusions": (), "disagreement_count": 0, "disagreements": (),
    "classes": [{"name": "ape", "samples": 8, "recall_before": 1.0, "recall": 0.75, "low": -0.5, "high": 0.1}],
}  # fmt: skip


def with_classes(example: RunRecord) -> RunRecord:
    rows = tuple(
        {"class": name, "samples": 7, "iou": Quantity.measured(value, "fraction", "here").model_dump(mode="json")}
        for name, value in {"road": 0.9, "sky": 0.2, "tree": 0.6, "car": 0.4}.items()
    )
    stages = [stage.model_copy(update={"class_comparison": None}) for stage in example.stages]
    stage = stages[-1].model_copy(update={"tables": {"classes": rows}})
    return example.model_copy(update={"stages": (*stages[:-1], stage)})


def test_the_classes_with_the_lowest_metric_are_weaknesses(example: RunRecord) -> None:
    (line,) = (line for line in weaknesses(with_classes(example)) if line.startswith("classes: "))
    assert line.index("sky: 20.00 %") < line.index("car: 40.00 %") < line.index("tree: 60.00 %")
    assert "road" not in line


def test_the_bill_has_the_metric_of_each_class(example: RunRecord) -> None:
    comparison = ClassComparison.model_validate(COMPARISON)
    stages = [stage.model_copy(update={"class_comparison": comparison}) for stage in example.stages]
    metrics = [
        bill_of_materials(record)["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]  # type: ignore[index]
        for record in (with_classes(example), example.model_copy(update={"stages": tuple(stages)}))
    ]
    slices = {each["slice"]: each["value"] for each in metrics[0] if each["type"] == "iou"}
    assert slices["test split, class sky, 7 samples, measured, unit fraction, here"] == "0.2"
    assert len(slices) == 4
    recalls = {each["slice"]: each["value"] for each in metrics[1] if each["type"] == "recall"}
    assert recalls == {"test split, class ape, 8 samples, measured, unit fraction": "0.75"}
