"""Written texts for tests of filters."""

from pathlib import Path
from types import SimpleNamespace

from compress.distill.prompts.written_text import WrittenText


def texts(*answers, prompt="p", source=0, **fields):
    return [WrittenText(source, prompt, "{prompt}", each, each, **fields) for each in answers]


def kept(rule, given, base=Path(), *, trust_code=False):
    context = SimpleNamespace(base=base, trust_code=trust_code)
    return [each.text for each in rule.keep(given, context)]
