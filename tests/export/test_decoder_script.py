"""`infer.py` with past keys and values: the same text as `compress generate`, alone in a process."""

import subprocess
import sys

import pytest

from compress.backends.decoder.sampling import Sampler
from compress.export.decoder_script import decoder_script
from compress.export.run_artifact import is_own_script
from compress.export.stream_text import GenerationTimes
from compress.export.text_generator import TextGenerator
from tests.export.decoder_artifacts import MOST


def script(folder, *arguments):
    return subprocess.run([sys.executable, "infer.py", *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_the_script_continues_a_text_as_the_command_does(language_artifact):
    folder, _ = language_artifact
    generator = TextGenerator(folder)
    prompt = generator.prompt_tokens("river stone cloud")
    expected = "".join(generator.stream(prompt, Sampler(), most=12, times=GenerationTimes(len(prompt))))
    done = script(folder, "river stone cloud", "12")
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip("\n") == expected.rstrip("\n")
    assert expected.strip()


def test_a_text_longer_than_the_context_is_refused(language_artifact):
    folder, _ = language_artifact
    done = script(folder, "river stone " * 100)
    assert done.returncode == 1
    assert f"give 1 to {MOST}" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_script_is_short_and_known(language_artifact):
    folder, candidate = language_artifact
    assert len(decoder_script(candidate.spec).splitlines()) < 80
    assert is_own_script(folder)


@pytest.mark.parametrize("package", ["compress", "torch", "transformers"])
def test_the_script_imports_no_more_than_it_says(package, language_artifact):
    assert f"import {package}" not in decoder_script(language_artifact[1].spec)


def test_text_around_a_prompt_is_part_of_the_script(language_artifact):
    spec = language_artifact[1].spec
    text = spec.text.model_copy(update={"prompt": ("Q: ", "\nA:")})
    assert 'BEFORE, AFTER = "Q: ", "\\nA:"\n' in decoder_script(spec.model_copy(update={"preprocessing": text}))
