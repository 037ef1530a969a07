from compress.data.factory import data_fingerprint
from compress.data.settings import DataSettings
from tests.data.text.toy_texts import toy_rows, write_csv


def test_files_and_tokenizer_are_part_of_it(tmp_path):
    write_csv(tmp_path / "t.csv")
    (tmp_path / "tokenizer.json").write_text("{}")
    settings = DataSettings(source="csv:t.csv", tokenizer=".")
    before = data_fingerprint(settings, tmp_path)
    assert before == data_fingerprint(settings, tmp_path)
    (tmp_path / "tokenizer.json").write_text("[]")
    changed = data_fingerprint(settings, tmp_path)
    write_csv(tmp_path / "t.csv", toy_rows(8))
    assert len({str(each) for each in (before, changed, data_fingerprint(settings, tmp_path))}) == 3
