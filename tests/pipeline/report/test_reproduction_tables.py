"""Tables of what a repetition needs."""

from compress.core.run_record import RunRecord
from compress.pipeline.report.reproduction_tables import MANY, files_table, versions_table


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
