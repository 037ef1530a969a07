"""Settings and helpers of the tests of operator substitution."""

import torch

from compress import Substitute

QUICK = {"epochs": 2, "batch_size": 32, "lr": 0.01, "keep": "last"}
ALL = {"activations": "relu6", "squeeze_excite": "remove", "depthwise": "3x3", "images": 64, "timing_seconds": 0}


def run(candidate, context, **fields):
    context.folder.mkdir(exist_ok=True, parents=True)
    return Substitute(**{**ALL, "recover": {"epochs": 0}, **fields}).run(candidate, context)


def equal(item, other):
    pairs = zip(item.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def kinds(module):
    return [type(part).__name__ for part in module.modules() if not any(part.children())]
