"""On-policy distillation of a toy decoder against supervised fine-tuning and sequence-level distillation, over several seeds.

    python tests/benchmarks/bench_language_distill.py --out DIR [--arms supervised,minillm] [--seeds 0,1,2] [--epochs 4]
        [--smoke] [--page language_distill.md]

Each arm of each seed is a run of the shipped recipe `llm_minillm` with another second stage: the same teacher, the same student
after the same supervised fine-tuning, and as many more steps on as many texts. DIR keeps the runs, and the next call continues
them. Prints a section in Markdown.
"""

from __future__ import annotations

import argparse
import copy
import shlex
import sys
from pathlib import Path
from typing import Any

import yaml
from language_written import Written, write_texts
from language_written_table import section

from compress.pipeline.pipeline import Pipeline

RECIPE = Path(__file__).resolve().parents[2] / "pipelines" / "llm_minillm.yaml"
Arm = dict[str, Any]
SUPERVISED, WORD, STORED, SEQUENCE = "supervised", "word_level", "word_level_stored", "sequence_level"
ON_POLICY = ("gkd", "reverse_kl", "minillm")
PAIRS = (*((arm, other) for arm in ON_POLICY for other in (SUPERVISED, SEQUENCE)), (STORED, WORD))
TOKENS = {"max_new_tokens": 32}


def arms() -> dict[str, Arm]:
    """What differs between the runs: losses, who writes the texts, and answers stored in 120 bytes per token (83 of 1,000)."""
    return {
        SUPERVISED: {"losses": ["task"]},
        WORD: {"losses": [{"token_divergence": {"kind": "forward"}}]},
        STORED: {"losses": [{"token_divergence": {"kind": "forward"}}], "cache": {"k": 83}},
        SEQUENCE: {"losses": ["task"], "generation": {"teacher": 1.0, **TOKENS}},
        "gkd": {"losses": [{"token_divergence": {"kind": "jensen_shannon"}}], "generation": {"student": 0.5, **TOKENS}},
        "reverse_kl": {"losses": [{"token_divergence": {"kind": "reverse"}}], "generation": {"student": 1.0, **TOKENS}},
        "minillm": {"losses": ["minillm"], "generation": {"student": 0.5, "teacher_share": 0.2, **TOKENS}},
    }


def recipe_of(name: str, epochs: int) -> dict[str, Any]:
    """The shipped recipe with the second stage of the arm, and without export."""
    recipe: dict[str, Any] = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    first, second = recipe["stages"][:2]
    kept = {key: value for key, value in second["distill"].items() if key not in ("losses", "generation")}
    stages = [first, {"distill": {**kept, "epochs": epochs, **copy.deepcopy(arms()[name])}}]
    return recipe | {"name": f"language_{name}", "stages": stages}


def run_arm(name: str, seed: int, epochs: int, out: Path, *, smoke: bool) -> Written:
    """Run the arm, or continue it, and write texts with its networks."""
    path = out / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(recipe_of(name, epochs), sort_keys=False), encoding="utf-8")
    overrides = (f"seed={seed}", f"data.seed={seed}")
    pipeline = Pipeline.load(path, overrides=overrides, smoke=smoke)
    return write_texts(pipeline, pipeline.run(out=out / f"seed{seed}"), seed)


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arms", default=",".join(arms()))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--page", type=Path)
    arguments = parser.parse_args()
    results: dict[str, dict[int, Written]] = {}
    for seed in map(int, arguments.seeds.split(",")):
        for name in arguments.arms.split(","):
            results.setdefault(name, {})[seed] = run_arm(name, seed, arguments.epochs, arguments.out, smoke=arguments.smoke)
            text = section(results, PAIRS, f"python {shlex.join(sys.argv)}")
            if arguments.page:
                arguments.page.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
