import numpy as np
from PIL import Image

from compress.data.sources.distilled_set import read
from tests.dataset_distillation.runs import candidate, stage


def test_pngs_and_the_figure_show_the_images(context):
    stage("random", use=False).run(candidate(), context)
    result = read(context.folder)
    with Image.open(context.folder / "images" / "001_green" / "002.png") as image:
        records = np.asarray(image, dtype=np.float32) / 255
    expected = (result.images[6] * 0.125 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy()
    assert np.abs(records - expected).max() < 0.003
    with Image.open(context.folder / "figures" / "distilled.png") as image:
        assert image.info["Description"] == "the 12 images of the set, a row for each of 3 classes, made by random."
        assert np.asarray(image.convert("L")).std() > 20
