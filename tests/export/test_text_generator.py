"""Texts from an artifact: those of the torch network, prompts that are refused, chat templates, and damaged folders."""

import json
import shutil

import pytest
import torch

from compress.backends.decoder.sampling import Sampler
from compress.core.errors import ConversionError, DataError
from compress.export.stream_text import GenerationTimes
from compress.export.text_generator import TextGenerator
from tests.export.decoder_artifacts import MOST, TEMPLATE


@pytest.fixture
def copied(language_artifact, tmp_path):
    return shutil.copytree(language_artifact[0], tmp_path / "copy")


def test_the_text_is_that_of_the_torch_network(language_artifact):
    folder, candidate = language_artifact
    generator = TextGenerator(folder)
    tokens = generator.prompt_tokens("river stone cloud")
    times = GenerationTimes(len(tokens))
    text = "".join(generator.stream(tokens, Sampler(), most=10, times=times))
    expected = list(tokens)
    with torch.no_grad():
        for _ in range(10):
            ids = torch.tensor([expected])
            expected.append(int(candidate.network()(ids, torch.ones_like(ids))[0, -1].argmax()))
    assert times.tokens == expected[len(tokens) :]
    assert text == generator.tokenizer.decode(times.tokens)
    assert times.first_token_s > 0
    assert len(times.further_s) == 9


def test_generation_ends_at_the_context_and_at_a_stop_token(copied):
    generator = TextGenerator(copied)
    prompt = generator.prompt_tokens("river stone")
    times = GenerationTimes(len(prompt))
    list(generator.stream(prompt, Sampler(), most=1000, times=times))
    assert len(times.tokens) <= MOST - len(prompt) + 1
    config = json.loads((copied / "genai_config.json").read_text())
    config["model"]["eos_token_id"] = times.tokens[3]
    (copied / "genai_config.json").write_text(json.dumps(config))
    stopped = GenerationTimes(len(prompt))
    list(TextGenerator(copied).stream(prompt, Sampler(), most=1000, times=stopped))
    assert stopped.tokens == times.tokens[: times.tokens.index(times.tokens[3])]


@pytest.mark.parametrize("text", ["", "river stone " * 60], ids=["empty", "long"])
def test_prompts_that_do_not_fit_are_refused(text, language_artifact):
    with pytest.raises(DataError, match=f"the network takes 1 to {MOST - 1}"):
        TextGenerator(language_artifact[0]).prompt_tokens(text)


def test_messages_are_written_by_the_chat_template(copied):
    pytest.importorskip("jinja2")
    with pytest.raises(DataError, match="needs a chat template"):
        TextGenerator(copied).prompt_tokens("river", system="stone")
    (copied / "chat_template.jinja").write_text(TEMPLATE)
    generator = TextGenerator(copied)

    def tokens(text):
        return generator.tokenizer.encode(text, add_special_tokens=False).ids

    assert generator.prompt_tokens("river") == tokens("<user> river <answer>")
    assert generator.prompt_tokens("river", system="stone") == tokens("<system> stone <user> river <answer>")
    assert generator.prompt_tokens("river", chat=False) == tokens("river")


def test_other_folders_are_refused(copied, tmp_path):
    with pytest.raises(ConversionError, match="contains no artifact"):
        TextGenerator(tmp_path / "nothing")
    (copied / "genai_config.json").write_text("{}")
    with pytest.raises(ConversionError, match="is damaged"):
        TextGenerator(copied)
    (copied / "genai_config.json").unlink()
    with pytest.raises(ConversionError, match="is no language model that keeps keys and values"):
        TextGenerator(copied)
