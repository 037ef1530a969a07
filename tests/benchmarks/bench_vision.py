"""Segmentation and detection: teacher, student alone, distilled, pruned and int8, over several seeds.

    python tests/benchmarks/bench_vision.py segmentation --out DIR [--seeds 0,1,2] [--smoke] [--page PAGE.md]
    python tests/benchmarks/bench_vision.py detection --out DIR
    python tests/benchmarks/bench_vision.py crowns --out DIR --images FOLDER

The first two run the recipes of these names on drawn scenes; `crowns` runs `crowns.yaml` on crops of the aerial images of the
package `deepforest`, in whose folder `data` they are (`pip download --no-deps deepforest==2.1.0`, then unzip). Each seed is a
run of the recipe with that seed for networks and data; DIR keeps the runs, and the next call continues them. Prints a Markdown
section of the finished seeds, and with `--page` puts it in place of the section of that page.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from crown_tiles import TILE, write_tiles
from vision_table import Arm, Part, SeedResult, replace_section, section

from compress.backends.iterate_split import input_arrays
from compress.backends.run_split import run_split
from compress.config.recipe import load
from compress.data.factory import load_data
from compress.pipeline.pipeline import Pipeline
from compress.profile.latency.interleave import TimingPlan
from compress.profile.latency.timing import measure, speedup
from compress.tasks.base import Task
from compress.tasks.detection import Detection
from compress.tasks.metric_quantity import loss_of
from compress.tasks.segmentation import Segmentation

ROOT = Path(__file__).resolve().parents[2]
DRAWN = "The scenes are synthetic, drawn by code: figures on them say little about photographs."
TASKS: dict[str, Task] = {"segmentation": Segmentation(), "detection": Detection(), "crowns": Detection()}
RECIPES = {
    "segmentation": ROOT / "pipelines" / "segmentation.yaml",
    "detection": ROOT / "pipelines" / "detection.yaml",
    "crowns": Path(__file__).with_name("crowns.yaml"),
}
STAGES = {"teacher": "teacher", "student distilled": "distill", "pruned": "prune", "int8": "quantize"}
FILES = {
    "teacher": "00-teacher/model.onnx",
    "student distilled": "01-distill/model.onnx",
    "pruned": "02-prune/model.onnx",
    "int8": "artifacts/host/model.onnx",
}


def run_seed(name: str, seed: int, out: Path, *, extra: tuple[str, ...], smoke: bool) -> SeedResult:
    """Run the recipe, or continue it, and read its record."""
    recipe, task = RECIPES[name], TASKS[name]
    metric, overrides = task.metric, (f"seed={seed}", f"data.seed={seed}", *extra)
    finished = Pipeline.load(recipe, overrides=overrides, smoke=smoke).run(out=out / f"seed{seed}")
    settings = load(recipe, overrides=overrides, smoke=smoke).recipe.data
    test = load_data(settings, base=recipe.parent).test
    files = {name: finished.folder / path for name, path in FILES.items()}
    timings = measure(files, input_arrays(next(iter(test.ordered(1)))), TimingPlan.of(0.1 if smoke else 3.0))
    stages = {stage.name: dict(stage.after) for stage in finished.record.every_stage}
    arms = {
        name: Arm(
            stages[stage][metric], files[name].stat().st_size, timings[name].p50, speedup(timings["teacher"], timings[name])
        )
        for name, stage in STAGES.items()
    }
    results = next(stage for stage in finished.record.stages if stage.name == "distill").results
    distilled = arms["student distilled"]
    arms["student alone"] = distilled._replace(metric=results[f"control_{metric}"])
    differences = {
        "lost by int8 against the teacher": stages["quantize"][task.metric_info.loss_name],
        "gained by distillation over the student alone": results[f"{metric}_over_control"],
    }
    reference, quantized = (run_split(files[name], test, task).scores for name in ("pruned", "int8"))
    differences["lost by int8 against its float network"] = loss_of(task.deciding, reference, quantized, "the float network")
    onnx = abs(task.deciding.value(reference) - (stages["prune"][metric].value or 0.0))
    return SeedResult(arms, differences, onnx)


def prepare(arguments: argparse.Namespace) -> tuple[Part, tuple[str, ...]]:
    """How the part is titled and introduced, and the changes to its recipe."""
    name, task = arguments.part, TASKS[arguments.part]
    recipe = RECIPES[name].relative_to(ROOT)
    command = f"`{recipe}{' --smoke' if arguments.smoke else ''}`"
    if name != "crowns":
        return Part(f"{task.name.capitalize()} of drawn scenes", command, DRAWN, task), ()
    tiles = arguments.out / "tiles"
    counts = write_tiles(arguments.images, tiles)
    listed = ", ".join(f"{split} {crops} crops with {boxes} boxes" for split, (crops, boxes) in counts.items())
    text = (
        f"Four aerial images of the package `deepforest` 2.1.0 (MIT), 951 boxes, cut into crops of {TILE} pixels and split by "
        f"place within the images, those for training overlapping by half: {listed}. The intervals, bootstrapped over crops, "
        "do not cover other images: with a split by image, mAP50 was a quarter of that by place."
    )
    return Part("Detection of tree crowns", command, text, task), (f"data.source=voc:{tiles.resolve()}",)


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=RECIPES)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--images", type=Path, help="folder of the aerial images, for crowns")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--page", type=Path)
    arguments = parser.parse_args()
    if arguments.part == "crowns" and arguments.images is None:
        parser.error("crowns needs --images")
    part, extra = prepare(arguments)
    results = {}
    for seed in map(int, arguments.seeds.split(",")):
        results[seed] = run_seed(arguments.part, seed, arguments.out, extra=extra, smoke=arguments.smoke)
        text = section(part, results)
        if arguments.page:
            replace_section(arguments.page, text)
    print(text)


if __name__ == "__main__":
    main()
