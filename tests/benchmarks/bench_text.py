"""Text encoders: DistilBERT's way, TinyBERT's way, the chain, and TinyBERT's parts, over several seeds.

    python tests/benchmarks/bench_text.py --out DIR [--recipes distilbert,tinybert] [--seeds 0,1,2] [--smoke]
        [--report reports/benchmarks/text.md] [--cut "what was cut"] [--append int8.md]

Each seed is a run of the recipe with that seed for networks and data; DIR keeps the runs, and the next call continues them.
Recipes with the same teacher share it.
The student alone is the control of the recipe: the same initial weights, trained as long on the labels. Prints the page.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from math import prod
from pathlib import Path

import yaml
from safetensors import safe_open
from text_recipes import Recipe, arms
from text_table import Network, TextSeed, page

from compress.core.record import Quantity
from compress.core.run_record import RunRecord
from compress.pipeline.pipeline import Pipeline
from compress.profile.file_inputs import plan_inputs
from compress.profile.latency.interleave import TimingPlan
from compress.profile.latency.timing import measure, speedup

METRIC = "accuracy"
LAYER = ".layer."
"""Part of the names of the parameters of an encoder's layers."""
NAMES = {"teacher": "teacher", "distill": "distilled", "prune": "pruned", "quantize": "int8"}
"""Name in the table by stage; of several stages of a name, the last one counts."""


def run_seed(name: str, recipe: Recipe, seed: int, out: Path, *, smoke: bool) -> TextSeed:
    """Run the recipe, or continue it, and read its record."""
    folder = out / name.replace(" ", "_")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True), encoding="utf-8")
    run = Pipeline.load(path, overrides=(f"seed={seed}", f"data.seed={seed}"), smoke=smoke).run(out=out / f"seed{seed}")
    stages = {NAMES[stage.name]: stage for stage in run.record.every_stage if stage.name in NAMES}
    files = {name: run.folder / f"{stage.index:02d}-{stage.name}" / "model.onnx" for name, stage in stages.items()}
    typical = run.record.spec.signature.sizes["sequence"].typical
    feeds = plan_inputs(files["teacher"]).feeds(1, sizes={"sequence": typical}, noise=0)
    timings = measure(files, feeds, TimingPlan.of(0.1 if smoke else 3.0))
    networks = {
        name: Network(
            stage.after[METRIC],
            files[name].stat().st_size,
            encoder_parameters(files[name].parent / "model.safetensors"),
            timings[name].p50,
            speedup(timings["teacher"], timings[name]),
        )
        for name, stage in stages.items()
    }
    return TextSeed(with_alone(networks, run.record), differences(run.record))


def with_alone(networks: dict[str, Network], record: RunRecord) -> dict[str, Network]:
    """The networks with the student alone after the teacher, where the recipe trains it."""
    controls = [stage.results[f"control_{METRIC}"] for stage in record.stages if f"control_{METRIC}" in stage.results]
    if not controls:
        return networks
    control = controls[-1]
    teacher, *others = networks
    alone = networks["distilled"]._replace(metric=control)
    return {teacher: networks[teacher], "student alone": alone, **{name: networks[name] for name in others}}


def differences(record: RunRecord) -> dict[str, Quantity]:
    """Differences of accuracy on the same samples, as the run recorded them."""
    found = {}
    for stage in record.stages:
        if gain := stage.results.get(f"{METRIC}_over_control"):
            found["distillation over the student alone"] = gain
    if lost := record.stages[-1].after.get(f"{METRIC}_drop"):
        found["lost against the teacher"] = lost
    return found


def encoder_parameters(path: Path) -> int:
    """Parameters of the layers in saved weights; 0 for a network that has none, such as an int8 file."""
    if not path.is_file():
        return 0
    with safe_open(path, framework="numpy") as weights:
        sizes = [weights.get_slice(name).get_shape() for name in weights.keys() if LAYER in name]  # noqa: SIM118
    return sum(prod(shape) for shape in sizes)


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipes", default=",".join(arms()))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--report", type=Path)
    parser.add_argument("--append", type=Path, help="Markdown for the end of the page, as bench_text_quantization.py prints it")
    parser.add_argument("--cut", action="append", default=[], help="what was cut, a sentence for the page")
    arguments = parser.parse_args()
    recipes, command = arms(), f"python {shlex.join(sys.argv)}"
    results: dict[str, dict[int, TextSeed]] = {}
    for seed in map(int, arguments.seeds.split(",")):
        for name in arguments.recipes.split(","):
            results.setdefault(name, {})[seed] = run_seed(name, recipes[name], seed, arguments.out, smoke=arguments.smoke)
            text = page(results, command, arguments.cut)
            if arguments.append:
                text = f"{text}\n{arguments.append.read_text(encoding='utf-8')}"
            if arguments.report:
                arguments.report.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
