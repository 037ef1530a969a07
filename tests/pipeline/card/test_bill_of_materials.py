"""The bill against the JSON schema of CycloneDX, by the validator of its Python library."""

import json
from importlib import metadata

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from compress.core.run_record import RunRecord
from compress.pipeline.card.bill_of_materials import bill_of_materials
from compress.pipeline.card.contents import artifact_files
from compress.pipeline.report.tables import final_metrics

VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)


def faults(bill: object) -> object:
    return VALIDATOR.validate_str(json.dumps(bill))


@pytest.mark.parametrize("name", ["example", "record", "hostile"])
def test_the_bill_fits_the_official_schema(name: str, request: pytest.FixtureRequest) -> None:
    assert faults(bill_of_materials(request.getfixturevalue(name), license_id="Apache-2.0")) is None


def test_the_validator_refuses_another_bill(example: RunRecord) -> None:
    bill = bill_of_materials(example)
    assert faults({**bill, "novelty": 1}) is not None
    assert faults({**bill, "serialNumber": "7"}) is not None
    bill["metadata"]["component"]["type"] = "network"  # type: ignore[index]
    assert faults(bill) is not None


@pytest.mark.parametrize("change", [{"smoke": True}, {"stages": ()}, {"teacher": None}, {"recipe": {}}, {"verdict": None}])
def test_a_run_that_lacks_a_part_has_a_bill(example: RunRecord, change: dict[str, object]) -> None:
    assert faults(bill_of_materials(example.model_copy(update=change))) is None


def test_the_network_has_its_metrics_with_intervals(example: RunRecord) -> None:
    model = bill_of_materials(example)["metadata"]["component"]  # type: ignore[index]
    assert model["type"] == "machine-learning-model"
    metrics = {each["type"]: each for each in reversed(model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"])}
    accuracy = final_metrics(example)["accuracy"]
    assert float(metrics["accuracy"]["value"]) == accuracy.value
    interval = metrics["accuracy"]["confidenceInterval"]
    assert (float(interval["lowerBound"]), float(interval["upperBound"])) == (accuracy.low, accuracy.high)
    assert float(metrics["accuracy_drop"]["value"]) == final_metrics(example)["accuracy_drop"].value


def test_an_error_band_is_no_confidence_interval(example: RunRecord) -> None:
    card = bill_of_materials(example)["metadata"]["component"]["modelCard"]  # type: ignore[index]
    estimated = [each for each in card["quantitativeAnalysis"]["performanceMetrics"] if ", estimated, between" in each["slice"]]
    assert estimated
    assert all("confidenceInterval" not in each for each in estimated)


def test_every_file_that_ships_has_its_hash(example: RunRecord) -> None:
    model = bill_of_materials(example)["metadata"]["component"]  # type: ignore[index]
    listed = {part["name"]: part["hashes"][0]["content"] for part in model["components"]}
    assert listed == {
        f"{device}/{name}": digest for device, files in artifact_files(example).items() for name, digest in files.items()
    }
    assert "hashes" not in model  # two networks ship: int8 for the host, another for TensorRT


def test_a_network_that_is_the_same_on_all_devices_has_its_own_hash(example: RunRecord) -> None:
    export = example.stages[3]
    files = {path: digest for path, digest in export.files.items() if "/host/" in path}
    stages = (*example.stages[:3], export.model_copy(update={"files": files}))
    model = bill_of_materials(example.model_copy(update={"stages": stages}))["metadata"]["component"]  # type: ignore[index]
    assert model["hashes"] == [{"alg": "SHA-256", "content": files["artifacts/host/model.onnx"]}]


def test_packages_have_urls_and_the_licence_of_their_own_release(example: RunRecord) -> None:
    installed = metadata.version("numpy")
    stage = example.stages[-1]
    stages = (stage.model_copy(update={"versions": {"numpy": installed, "torch": "0.0.1+cpu", "compress": "0.1.0"}}),)
    bill = bill_of_materials(example.model_copy(update={"stages": stages, "teacher": None}))
    packages = {each["name"]: each for each in bill["components"]}  # type: ignore[attr-defined]
    assert packages["torch"]["purl"] == "pkg:pypi/torch@0.0.1%2Bcpu"
    assert "licenses" not in packages["torch"]  # another release is installed here
    assert packages["compress"]["purl"] == "pkg:generic/compress@0.1.0"
    assert packages["numpy"]["licenses"]
    assert (packages["numpy"]["scope"], packages["torch"]["scope"]) == ("required", "excluded")
    executorch = stage.model_copy(update={"parameters": {"formats": ["executorch"]}, "versions": stages[0].versions})
    bill = bill_of_materials(example.model_copy(update={"stages": (executorch,), "teacher": None}))
    assert {each["name"]: each["scope"] for each in bill["components"] if "scope" in each}["torch"] == "required"  # type: ignore[attr-defined]
    refs = {each["bom-ref"] for name, each in packages.items() if each["type"] == "library"}
    assert set(bill["dependencies"][0]["dependsOn"]) == refs  # type: ignore[index]


def test_the_teacher_is_a_component_and_pretrained_weights_an_ancestor(example: RunRecord) -> None:
    recipe = {**example.recipe, "model": {"source": "torchvision:resnet18", "weights": "DEFAULT"}}
    bill = bill_of_materials(example.model_copy(update={"recipe": recipe}))
    teacher = next(each for each in bill["components"] if each["type"] == "machine-learning-model")  # type: ignore[attr-defined]
    assert teacher["hashes"][0]["content"] == example.teacher.files["model.onnx"]  # type: ignore[union-attr]
    ancestors = bill["metadata"]["component"]["pedigree"]["ancestors"]  # type: ignore[index]
    assert ancestors == [{"type": "machine-learning-model", "name": "torchvision:resnet18, weights DEFAULT"}]
    assert bill_of_materials(example)["metadata"]["component"]["pedigree"]["ancestors"] == []  # type: ignore[index]


def test_a_hash_that_is_none_is_refused(example: RunRecord) -> None:
    export = example.stages[3].model_copy(update={"files": {"artifacts/host/model.onnx": "12"}})
    with pytest.raises(ValueError, match="not a SHA-256"):
        bill_of_materials(example.model_copy(update={"stages": (export,)}))
