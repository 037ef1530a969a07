from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.dataset_distillation.from_network import invert
from tests.dataset_distillation.runs import stage


def test_inversion_from_a_network_alone_makes_a_source_that_can_be_trained_on(context, tmp_path):
    spec = context.data.spec
    file = invert(context.teachers[0].network(), spec, tmp_path / "dreamt", stage("inversion"))
    assert file.is_file()
    data = load_data(DataSettings(source="distilled:dreamt", image_size=8, test=0.25), base=tmp_path)
    assert len(data.train) == 6
    assert data.spec == spec
