"""One member of each torchvision classification family through prune → quantize → export, at smoke size."""

import pytest
import torchvision

from compress import Export, Prune, Quantize
from compress.data import factory as sources
from compress.data.settings import DataSettings
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.pipeline.pipeline import Pipeline
from tests.models.families import FAMILIES, Family, family_of


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_chain_ends_in_a_smaller_artifact_or_says_why(family: Family, tmp_path):
    settings = DataSettings(image_size=max(32, family.size), limit=64, evaluation_limit=32)
    data = sources.load_data(settings, base=tmp_path)
    network = build_model(
        ModelSettings(source=f"torchvision:{family.name}", args=family.args), data.spec, seed=0, base=tmp_path
    )
    prune = Prune(
        target={"macs": 0.5}, importance="magnitude", schedule={"kind": "one_shot", "steps": 1}, recover={"epochs": 0}
    )
    stages = [prune, Quantize(calibration={"samples": 16}), Export()]
    run = Pipeline(family.name, model=network.module, data=data, stages=stages).run(out=tmp_path)
    pruned, quantized, exported = run.record.stages
    ratio = pruned.after["macs"].value / run.record.start["macs"].value
    print(f"\n{family.name}: {ratio:.2f} of the MACs, {run.record.start['size_bytes'].value / 1e6:.1f} MB → "
          f"{exported.after['size_bytes'].value / 1e6:.2f} MB, agreement {quantized.results['agreement'].value}")  # fmt: skip
    assert ratio <= 0.51 or any("target" in note for note in pruned.notes), pruned.notes
    assert quantized.after["size_bytes"].value < 0.4 * pruned.after["size_bytes"].value or quantized.skipped
    assert (run.folder / "artifacts" / "host" / "model.onnx").is_file()


def test_every_classification_family_of_torchvision_has_a_member_here():
    names = torchvision.models.list_models(module=torchvision.models)
    assert {family_of(name) for name in names} == {family_of(family.name) for family in FAMILIES}
