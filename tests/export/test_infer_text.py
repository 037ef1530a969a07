import json
import subprocess
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

from compress.backends.export_onnx import export_onnx
from compress.core.errors import DataError
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.text.settings import Columns, Lengths, TrainedTokenizer
from compress.export import ship_onnx
from compress.export.manifest import write_labels, write_manifest
from compress.export.run_artifact import is_own_script, read_spec, run_artifact
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.tasks.text.text_classification import TextClassification
from tests.data.text.toy_texts import toy_rows, write_csv

TASK = TextClassification()


@pytest.fixture(scope="module", params=[pytest.param(False, marks=pytest.mark.slow), True], ids=["texts", "pairs"])
def artifact(request, tmp_path_factory):
    """The data, a network of them, and its artifact."""
    folder = tmp_path_factory.mktemp("artifact")
    rows = [(f"{text},{text[:9]}", name) for text, name in toy_rows()]
    write_csv(folder / "t.csv", rows, "text,other,target")
    settings = DataSettings(
        source="csv:t.csv",
        tokenizer=TrainedTokenizer(train="wordpiece", vocabulary=150),
        lengths=Lengths(typical=8, most=16),
        columns=Columns(text_pair="other" if request.param else None),
    )
    data = load_data(settings, base=folder)
    spec = TASK.complete_spec(data.spec)
    model = ModelSettings(source="encoder:tiny", args={"width": 32, "heads": 2})
    module = build_model(model, spec, seed=0, base=folder, task=TASK).module.eval()
    export_onnx(module, spec, folder / "net.onnx", split=data.validation)
    ship_onnx.write(folder / "net.onnx", folder / "host", spec, code=TASK.infer_code)
    (folder / "host" / "tokenizer.json").write_bytes(data.files["tokenizer.json"])
    write_labels(folder / "host", spec)
    write_manifest(folder / "host", spec, device="host", runtime="onnxruntime")
    return data, spec, module, folder / "host"


def asked(folder, code):
    """What a program prints beside the script, with nothing of this package."""
    program = f"import sys; sys.path.insert(0, '.'); import infer; {code}; assert 'compress' not in sys.modules"
    run = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def test_answers_are_those_of_python(artifact):
    data, _, module, folder = artifact
    pairs = data.spec.text.pairs
    texts = [*data.test.texts[:7], "the cat " * 40, ""]
    given = [(text, "a bird") for text in texts] if pairs else texts
    code = f"import json; print(json.dumps(next(iter(infer.run(infer.preprocess({given!r})).values())).tolist()))"
    answers = np.array(asked(folder, code))
    alone = []
    for sample in given:
        line = sample if pairs else [sample]
        encoded = _tokenizer(data).encode(*line)
        inputs = [encoded.ids, encoded.attention_mask, *([encoded.type_ids] if pairs else [])]
        with torch.no_grad():
            alone.append(module(*(torch.tensor([each]) for each in inputs))[0].numpy())
    np.testing.assert_allclose(answers, np.stack(alone), atol=1e-4)


def _tokenizer(data):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(data.files["tokenizer.json"].decode())
    tokenizer.no_padding()
    return tokenizer


def test_the_script_is_short_and_known(artifact):
    _, spec, _, folder = artifact
    script = (folder / "infer.py").read_text(encoding="utf-8")
    assert len(script.splitlines()) < 60
    assert "PIL" not in script
    assert is_own_script(folder)
    assert read_spec(folder / "model.onnx") == spec


def test_it_prints_the_classes(artifact):
    folder = artifact[3]
    texts = ["a fine cat", "a dog"] if artifact[1].text.pairs else ["a fine cat"]
    run = subprocess.run([sys.executable, folder / "infer.py", *texts], capture_output=True, text=True, check=True)
    assert sorted(line.split()[-1] for line in run.stdout.splitlines()) == ["bad", "good"]


def test_the_manifest_describes_the_tokens(artifact):
    manifest = json.loads((artifact[3] / "manifest.json").read_text(encoding="utf-8"))
    assert "tokenizer.json" in manifest["files"]
    assert "cut at 16 tokens" in manifest["preprocessing"]
    assert manifest["inputs"][0]["shape"] == ["batch", "sequence"]


def test_infer_runs_it_on_texts(artifact, tmp_path):
    folder = artifact[3]
    if artifact[1].text.pairs:
        assert len(next(run_artifact(folder, "a cat", "a dog")).text.splitlines()) == 2
        with pytest.raises(DataError, match="takes two texts"):
            list(run_artifact(folder, "a cat"))
        return
    (tmp_path / "t.txt").write_text("a cat\n\na dog\n")
    assert [each.title for each in run_artifact(folder, tmp_path / "t.txt")] == ["a cat", "a dog"]
    with pytest.raises(DataError, match="takes one text"):
        list(run_artifact(folder, "a", "b"))
