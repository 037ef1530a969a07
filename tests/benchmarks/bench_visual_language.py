"""Three stages of LLaVA-KD against fine-tuning alone for as many steps, over several seeds of data and weights.

    python tests/benchmarks/bench_visual_language.py --out DIR [--seeds 0,1,2] [--page reports/benchmarks/image_text.md]

The recipe is `pipelines/visual_question_student.yaml`. Its student also learns without a teacher, in one stage of as many
epochs with one rise and fall of the learning rate. DIR keeps the runs, and the next call continues them. Prints a Markdown
section, and with `--page` puts it in place of the section of that page.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray

from compress.core.run_record import RunRecord
from compress.core.statistics import paired_difference, wilson
from compress.pipeline.pipeline import Pipeline
from tests.benchmarks.vision_table import replace_section

RECIPE = Path(__file__).resolve().parents[2] / "pipelines" / "visual_question_student.yaml"
METRIC = "exact_match"
HEADING = "## Answers to questions on images: three stages against fine-tuning alone"
Recipe = dict[str, Any]
TRAINS = ("distill", "train")
NAMES = {
    "teacher": "teacher",
    "alone": "student by fine-tuning alone",
    "three": "student in three stages: MDist, RDist",
    "int8": "the same, int8",
}


class Arm(NamedTuple):
    """A network of one seed.

    Attributes:
        right: Whether each test answer is right, (N,).
        megabytes: Size of its file.
    """

    right: NDArray[np.float64]
    megabytes: float


def trained(recipe: Recipe) -> list[Recipe]:
    """Settings of the stages that train, without losses of a teacher."""
    found = [stage[kind] for stage in recipe["stages"] if isinstance(stage, dict) for kind in TRAINS if kind in stage]
    return [{name: value for name, value in settings.items() if name != "losses"} for settings in found]


def without_teacher(recipe: Recipe, training: Recipe) -> Recipe:
    """The student with one stage of training alone."""
    kept = {key: value for key, value in copy.deepcopy(recipe).items() if key not in ("teacher", "budget")}
    return kept | {"name": "alone", "stages": [{"train": training}]}


def arms(recipe: Recipe) -> dict[str, Recipe]:
    """Recipes by name."""
    stages = trained(recipe)
    one = stages[0] | {"epochs": sum(int(each["epochs"]) for each in stages)}
    return {
        "three": recipe,
        "alone": without_teacher(recipe, one),
    }


def run(recipe: Recipe, seed: int, out: Path, *, smoke: bool) -> tuple[RunRecord, Path]:
    """Run a recipe, or continue it."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{recipe['name']}.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True), encoding="utf-8")
    done = Pipeline.load(path, overrides=(f"seed={seed}", f"data.seed={seed}"), smoke=smoke).run(out=out / f"seed{seed}")
    return done.record, done.folder


def last_of(record: RunRecord, folder: Path, names: tuple[str, ...]) -> Arm:
    """The network of the last stage of these names."""
    stage = [each for each in record.every_stage if each.name in names][-1]
    place = folder / f"{stage.index:02d}-{stage.name}"
    size = (place / "model.onnx").stat().st_size / 1e6
    return Arm(np.load(place / "correct.npy").astype(np.float64).ravel(), size)


def run_seed(seed: int, out: Path, *, smoke: bool) -> dict[str, Arm]:
    """All networks of a seed, by the keys of `NAMES`."""
    recipes = arms(yaml.safe_load(RECIPE.read_text(encoding="utf-8")))
    record, folder = run(recipes["three"], seed, out, smoke=smoke)
    found = {
        "teacher": last_of(record, folder, ("teacher",)),
        "three": last_of(record, folder, TRAINS),
        "int8": last_of(record, folder, ("quantize",)),
    }
    return found | {"alone": last_of(*run(recipes["alone"], seed, out, smoke=smoke), TRAINS)}


def section(seeds: Mapping[int, Mapping[str, Arm]]) -> str:
    """Markdown: networks, and paired differences over all seeds and of each."""
    lines = [HEADING, "", "| network | size | exact match, all seeds | of each seed |", "|---|---|---|---|"]
    rights = {name: np.concatenate([arms[name].right for arms in seeds.values()]) for name in NAMES}
    for name, label in NAMES.items():
        right = rights[name]
        low, high = wilson(int(right.sum()), len(right))
        each = ", ".join(f"{100 * arms[name].right.mean():.1f}" for arms in seeds.values())
        size = next(iter(seeds.values()))[name].megabytes
        lines.append(
            f"| {label} | {1000 * size:.0f} kB | {100 * right.mean():.1f} % ({100 * low:.1f} to {100 * high:.1f}) | {each} |"
        )
    value, low, high = (100 * each for each in paired_difference(rights["three"], rights["alone"]))
    own = ", ".join(f"{100 * (each['three'].right.mean() - each['alone'].right.mean()):+.1f}" for each in seeds.values())
    gain = f"{value:+.1f} points (95 % paired interval {low:+.1f} to {high:+.1f}"
    count = len(rights["three"])
    lines += ["", f"Three stages against fine-tuning alone for as many steps: {gain} over {count} answers; by seed {own})."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the seeds and print the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--page", type=Path)
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    seeds = {int(seed): run_seed(int(seed), options.out, smoke=options.smoke) for seed in options.seeds.split(",")}
    text = section(seeds)
    print(text)
    if options.page is not None:
        replace_section(options.page, text)


if __name__ == "__main__":
    main()
