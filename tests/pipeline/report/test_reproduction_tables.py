"""Tables of what a repetition needs."""

from compress.core.licence_note import LicenceNote
from compress.core.run_record import RunRecord
from compress.pipeline.report import html, markdown
from compress.pipeline.report.outline import build_outline
from compress.pipeline.report.reproduction_tables import MANY, files_table, licences_table, versions_table


def test_versions_that_differ_name_their_stages(record: RunRecord) -> None:
    last = record.stages[-1].model_copy(update={"versions": {**record.stages[-1].versions, "torch": "2.16.0"}})
    table = versions_table(record.model_copy(update={"stages": (*record.stages[:-1], last)}))
    texts = {row[0].text: row[1].text for row in table.rows}
    assert texts["torch"] == "2.15.0 (stage 0, 1, 2, 3, 4); 2.16.0 (stage 5)"
    assert texts["numpy"] == "2.3.1"


def test_a_folder_of_many_files_is_one_row(record: RunRecord) -> None:
    files = {f"figures/{index}.png": "0" * 64 for index in range(MANY + 1)} | {"model.onnx": "1" * 64}
    stage = record.stages[0].model_copy(update={"files": files})
    table = files_table(record.model_copy(update={"teacher": None, "stages": (stage,)}))
    assert [row[1].text for row in table.rows] == ["figures/", "model.onnx"]


def test_licences_that_must_be_checked_come_first(record: RunRecord) -> None:
    known = LicenceNote(what="package numpy", origin="PyPI, 2.3.1", licence="BSD-3-Clause")
    data = LicenceNote(what="training data", origin="imagefolder:mine", licence="unknown", must_check=True)
    table = licences_table(record.model_copy(update={"licences": (known, data)}))
    assert [row[0].text for row in table.rows] == ["training data", "package numpy"]
    assert [row[2].tone for row in table.rows] == ["not-shown", ""]


def test_an_older_record_has_the_licences_of_its_recipe(record: RunRecord) -> None:
    recipe = {
        "model": {"source": "torchvision:mobilenet_v2"},
        "teacher": [{"source": "torchvision:resnet50", "weights": "IMAGENET1K_V2"}],
    }
    table = licences_table(record.model_copy(update={"recipe": recipe, "data": {"source": "digits"}}))
    named = {row[0].text: row[2] for row in table.rows}
    assert "publisher" in named["teacher: pretrained weights"].text
    assert named["training data"].tone == "not-shown"
    assert named["network: initial weights"].text == "no third-party licence"


def test_licences_are_in_a_run_without_an_export_stage_and_folded_in_markdown(record: RunRecord) -> None:
    outline = build_outline(record.model_copy(update={"stages": record.stages[:1], "data": {"source": "digits"}}), ())
    text = markdown.render(outline)
    folded = text.index("<details><summary>Licences of networks, data and packages</summary>")
    assert text.index("training data", folded) < text.index("</details>", folded)
    assert "Licences of networks, data and packages" in html.render(outline)
