"""Pictures of samples on which the networks disagree."""

import base64

from compress.core.run_record import RunRecord
from compress.pipeline.report.figures.disagreements import disagreement_pictures
from tests.pipeline.report.browser.records import JPEG, comparison


def test_a_jpeg_of_the_record_is_shown_with_what_the_networks_say(record: RunRecord) -> None:
    last = record.stages[-1].model_copy(update={"class_comparison": comparison(("cat", "dog"))})
    (picture,) = disagreement_pictures(record.model_copy(update={"stages": (last,)}))
    assert picture.image == base64.b64decode(JPEG)
    assert picture.path.as_posix() == "figures/sample_7.jpg"
    assert picture.caption == "test sample 7: cat; the teacher says cat, the artifact says dog"


def test_text_that_is_no_jpeg_is_skipped(record: RunRecord) -> None:
    whole = comparison(("cat", "dog"))
    for image in ("", "%%%", base64.b64encode(b"<svg onload=alert(1)>").decode()):
        sample = whole.disagreements[0].model_copy(update={"image": image})
        last = record.stages[-1].model_copy(update={"class_comparison": whole.model_copy(update={"disagreements": (sample,)})})
        assert list(disagreement_pictures(record.model_copy(update={"stages": (last,)}))) == []
    assert list(disagreement_pictures(record)) == []
