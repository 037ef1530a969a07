import sys
from types import SimpleNamespace

import pytest

from compress.core.errors import DataError, MissingPackageError
from compress.data.factory import data_fingerprint, load_data
from compress.data.settings import DataSettings
from compress.data.text.settings import TrainedTokenizer
from tests.data.text.toy_texts import toy_rows

pytest.importorskip("tokenizers")
pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
SMALL = TrainedTokenizer(train="wordpiece", vocabulary=100)


def table(count):
    texts, targets = zip(*toy_rows(count), strict=True)
    return pa.table({"text": texts, "target": targets})


def loaded(source, base):
    return load_data(DataSettings(source=source, tokenizer=SMALL), base=base)


def test_a_folder_of_parquet_files_has_its_splits(tmp_path):
    (tmp_path / "data").mkdir()
    for name, count in (("train-00000-of-00002", 10), ("train-00001-of-00002", 12), ("validation-00000-of-00001", 6)):
        pq.write_table(table(count), tmp_path / "data" / f"{name}.parquet")
    data = loaded(f"hf_dataset:{tmp_path}", tmp_path)
    assert (len(data.train) + len(data.validation), len(data.test)) == (22, 6)
    assert data_fingerprint(data.settings, tmp_path)["files"]


def test_a_saved_data_set_has_a_folder_for_each_split(tmp_path):
    for name, count in (("train", 20), ("test", 8)):
        (tmp_path / name).mkdir()
        file = str(tmp_path / name / "data-00000-of-00001.arrow")
        with pa.OSFile(file, "wb") as sink, pa.ipc.new_stream(sink, table(count).schema) as writer:
            writer.write_table(table(count))
    data = loaded(f"hf_dataset:{tmp_path}", tmp_path)
    assert len(data.test) == 8


def test_a_test_split_with_hidden_targets_is_left_out(tmp_path):
    hidden = table(8).set_column(1, "target", pa.array([None] * 8, pa.string()))
    for name, each in (("train", table(40)), ("validation", table(10)), ("test", hidden)):
        pq.write_table(each, tmp_path / f"{name}.parquet")
    assert len(loaded(f"hf_dataset:{tmp_path}", tmp_path).test) == 10


def test_a_name_is_loaded_by_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingPackageError, match="datasets"):
        loaded("hf_dataset:glue:sst2", tmp_path)
    asked = []

    def load_dataset(*names):
        asked.append(names)
        part = SimpleNamespace(features={"target": SimpleNamespace(names=["bad", "good"])}, to_dict=lambda: numbered)
        return {"train": part, "validation": part}

    numbered = {"text": [text for text, _ in toy_rows(20)], "target": [index % 2 for index in range(20)]}
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    assert loaded("hf_dataset:glue:sst2", tmp_path).spec.classes == ("bad", "good")
    assert asked == [("glue", "sst2")]


def test_a_folder_without_tables_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no training split"):
        loaded(f"hf_dataset:{tmp_path}", tmp_path)
