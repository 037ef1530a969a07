"""Recipes and `--set`: changed trees, texts and bytes of the shipped recipes, and texts that would grow without limit."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import yaml

from compress.config.find_recipe import shipped
from compress.config.recipe import load, schema
from compress.core.registry import entries
from compress.pipeline.plan import from_recipe
from tests.fuzz.harness import Case, change_bytes, change_tree, change_yaml

DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
SETS = (
    "seed={v}", "stages.{k}.epochs={v}", "stages.0.{k}={v}", "data.{k}={v}", "stages.prune.target={v}", "{k}={v}",
    "stages.{k}={v}",
    "stages.99.x={v}", "stages.²={v}", "stages.--5.x={v}", "stages.-1={v}", "stages.{k}.{k}.{k}={v}", "{v}", "=", "=={v}",
    "stages.1²={v}", "stages." + "9" * 5000 + "={v}", "name.x={v}", "teacher.{k}={v}", "stages.distill.losses.0.{k}={v}",
    "budget.{k}.{k}={v}",
)  # fmt: skip
SET_VALUES = (
    "1", "[[[[", "*a", "&a [*a]", "\0", "0x" + "f" * 5000, "{a: b, a: c}", "!!python/name:os.system", "", "2001-99-99",
    "[" * 2000,
    "\ud800", '"\\ud800"', "a" * 2_000_000, "{1: 2}", "null", "~", "- - -", "x: y: z",
)  # fmt: skip


def growing_texts() -> Iterator[str]:
    """Texts whose reading could take without limit: aliases, nesting, length."""
    letters = "abcdefghij"
    multiplied = (f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in pairwise(letters))
    yield "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(multiplied)
    yield from ("x: &x {<<: *x}\n", "x: &x [*x]\n", "x: &x {? *x : 1}\n")
    yield from ("name: " + "a" * 1_040_000, "name: " + "a" * 10_000_000, "name: '" + "a\n\n" * 300_000 + "'")
    for depth in (90, 330, 990, 10_000, 100_000):
        yield from ("x: " + "[" * depth + "]" * depth, "x: " + "{a: " * depth + "}" * depth, "[" * depth, "- " * depth + "x")
    yield "".join(" " * indent + "a:\n" for indent in range(1400))
    yield from ("- a\n" * 260_000, "a: b\n" * 200_000, "".join(f"k{index}: {index}\n" for index in range(80_000)))
    yield from ("[" + "1," * 500_000 + "]", '"' + "\\x41" * 250_000 + '"', "#" * 1_000_000, "\n" * 1_000_000, " " * 1_000_000)
    yield from ("? " * 5000, "!<" + "x" * 500_000 + "> y", "%" * 100_000, "'" + "''" * 500_000 + "'", "|\n " + "x\n " * 300_000)
    yield from (
        "- - - - " * 50_000,
        "x: *" + "y" * 1_000_000,
        "seed: 0x" + "f" * 5000,
        "seed: 0o" + "7" * 100_000,
        "seed: 1e400",
    )


def cases(rng: random.Random, count: int, work: Path) -> Iterator[Case]:
    """Recipes, each loaded and planned as `compress validate` does."""
    path = work / "recipe.yaml"
    trees = [yaml.safe_load(file.read_text()) for file in shipped()]
    words = tuple(sorted({*re.findall(r"[A-Za-z_][A-Za-z_0-9]+", str(schema())), *(row.name for row in entries())}))

    def use(kind: str, content: bytes, sets: tuple[str, ...] = ()) -> Case:
        path.write_bytes(content)
        return Case(kind, lambda: from_recipe(load(path, overrides=sets)))

    growing = [text.encode() for text in growing_texts()]
    yield from (use("without limit", content) for content in growing[: count // 4])
    for _ in range(count - min(len(growing), count // 4)):
        tree, chance = rng.choice(trees), rng.random()
        if chance < 0.5:
            changed = change_tree(tree, rng, words)
            text = yaml.dump(changed, sort_keys=False, allow_unicode=rng.random() < 0.5, Dumper=yaml.SafeDumper)
            yield use("tree", text.encode("utf-8", "surrogatepass"))
        elif chance < 0.8:
            yield use("text", change_yaml(yaml.dump(tree, sort_keys=False, Dumper=DUMPER), rng))
        elif chance < 0.88:
            yield use("bytes", change_bytes(yaml.dump(tree, sort_keys=False, Dumper=DUMPER).encode(), rng))
        else:
            sets = (_set(rng, words) for _ in range(rng.choice([1, 1, 2])))
            yield use("--set", yaml.dump(tree, sort_keys=False, Dumper=DUMPER).encode(), tuple(sets))


def _set(rng: random.Random, words: tuple[str, ...]) -> str:
    key = rng.choice(["prune", "distill", "0", "1", "²", " ", "\0", rng.choice(words)])
    return rng.choice(SETS).replace("{k}", key).replace("{v}", rng.choice(SET_VALUES))
