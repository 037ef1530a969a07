import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.config.recipe import Recipe, check, digest, load, loads, resolved_yaml, shipped, targets
from compress.core.errors import RecipeError
from compress.core.registry import lookup
from compress.data.settings import DataSettings
from compress.models.settings import ModelSettings, TeacherSettings
from compress.train.settings import Training
from tests.config.small_recipe import SMALL
from tests.recipe_files import own_files

DESIGN = """\
name: resnet50_to_mobilenet
seed: 0
task: classification
data: {source: digits, image_size: 64}
model: {source: "torchvision:mobilenet_v2"}
teacher: {source: "torchvision:resnet50", train: {epochs: 6}}
stages:
  - distill:
      epochs: 10
      losses:
        - response: {temperature: 4.0, weight: 0.7}
        - task: {weight: 0.3}
  - prune:
      granularity: channel
      importance: taylor
      target: {macs: 0.5}          # keep half; or params, latency_ms with a device
      schedule: {kind: cubic, steps: 4}
      recover: {teacher: parent, epochs: 2}
  - quantize: {scheme: auto, calibration: {method: entropy, samples: 256}}
  - export: {formats: [onnx, tensorrt]}
  - profile: {devices: [host, mobile_cpu, jetson_orin_nano, desktop_gpu]}
budget:
  accuracy_drop: 0.01
  size_mb: 1.0
  latency_ms: {host: 1.0}
"""


def faults(text, *overrides):
    with pytest.raises(RecipeError) as caught:
        loads(text, overrides=overrides)
    return caught.value.issues


def fault(text, *overrides):
    found = faults(text, *overrides)
    assert len(found) == 1, [str(each) for each in found]
    return found[0]


def small(old, new):
    assert old in SMALL
    return SMALL.replace(old, new)


def with_stages(*lines, teacher=False):
    head = SMALL.partition("stages:")[0] + ("teacher: {source: 'torchvision:resnet50'}\n" if teacher else "")
    return head + "stages:\n" + "".join(f"  - {line}\n" for line in lines)


def test_the_example_of_the_documentation_is_read():
    recipe = loads(DESIGN)
    assert [type(stage).__name__ for stage in recipe.stages] == ["Distill", "Prune", "Quantize", "Export", "Profile"]
    assert recipe.teacher.train.epochs == 6
    assert recipe.stages[0].losses[0].temperature == 4.0
    assert recipe.stages[1].target.macs == 0.5
    assert recipe.budget.latency_ms == {"host": 1.0}
    assert targets(recipe.stages) == ("host", "mobile_cpu", "jetson_orin_nano", "desktop_gpu")


# Faults of single values, each with its line and place.


@pytest.mark.parametrize(
    ("old", "new", "line", "path", "said"),
    [
        ("epochs: 2", "epoch: 2", 6, "stages[0].train.epoch", "unknown key: did you mean 'epochs'?"),
        ("name: small", "name: Small Net", 1, "name", "must match"),
        ("name: small", "name: 5", 1, "name", "expected text, got 5; put it in quotes"),
        ("classification", "clasification", 2, "task", "did you mean 'classification'?"),
        ("epochs: 2", "epochs: 0", 6, "stages[0].train.epochs", "must be at least 1, got 0"),
        ("epochs: 2", "lr: 0", 6, "stages[0].train.lr", "must be above 0, got 0"),
        ("epochs: 2", "epochs: five", 6, "stages[0].train.epochs", "expected a whole number, got 'five'"),
        ("epochs: 2", "epochs: 2.5", 6, "stages[0].train.epochs", "expected a whole number, got 2.5"),
        ("epochs: 2", "epochs: true", 6, "stages[0].train.epochs", "expected a number, got true"),
        ("epochs: 2", "lr: fast", 6, "stages[0].train.lr", "expected a number, got 'fast'"),
        ("epochs: 2", "keep: beste", 6, "stages[0].train.keep", "did you mean 'best'?"),
        ("{source: digits}", "{channels: 2}", 3, "data.channels", "expected 1 or 3, got 2"),
        ("{source: digits}", "digits", 3, "data", "expected a block of keys, got 'digits'"),
        ("{source: digits}", "{validation: 0.6, test: 0.5}", 3, "data", "less than 5 % for training"),
        ("{source: digits}", "{source: digts}", 3, "data.source", "did you mean 'digits'?"),
        ("resnet18", "resnet81", 4, "model.source", "did you mean 'resnet"),
        ("train:", "trian:", 6, "stages[0]", "unknown stage 'trian': did you mean 'train'?"),
        ("  - export", "  - 5", 7, "stages[1]", "written `name: {parameters}`"),
        ("  - export", "  - {export: {}, train: {}}", 7, "stages[1]", "written `name: {parameters}`"),
        ("  - export", "  - export: 7", 7, "stages[1].export", "expected a block of keys, got 7"),
        ("  - export", "  - distill: {losses: [{respons: {}}]}", 7, "stages[1].distill.losses[0]", "did you mean 'response'?"),
        ("name: small\n", "", 1, "name", "this required key is missing"),
        ('{source: "torchvision:resnet18"}', "{}", 4, "model.source", "this required key is missing"),
        ("  - export", "  - export\nextra: 1", 8, "extra", "unknown key"),
        ("  - export", "  - export\nname: again", 8, "name", "is duplicate, here and on line 1"),
        ("  - export", "  - export\nbudget: {}", 8, "budget", "at least one limit"),
        ("  - export", "  - export\nteacher: []", 8, "teacher", "at least 1 entry, got 0"),
    ],
)
def test_a_fault_has_its_line_and_place(old, new, line, path, said):
    found = [each for each in faults(small(old, new)) if each.path == path]
    assert len(found) == 1, [str(each) for each in faults(small(old, new))]
    assert found[0].line == line
    assert said in found[0].message


def test_no_message_speaks_of_pydantic():
    text = str(RecipeError("x", faults(small("epochs: 2", "epochs: [1]").replace("task: classification", "task: [1]"))))
    assert "pydantic" not in text
    assert "http" not in text


def test_a_chain_without_stages_is_refused():
    found = fault(SMALL.partition("stages:")[0] + "stages: []\n")
    assert (found.line, found.path, found.message) == (5, "stages", "needs at least 1 entry, got 0")


def test_a_fault_inside_an_entry_does_not_also_say_that_the_list_is_too_short():
    assert fault(with_stages("trian")).path == "stages[0]"


@pytest.mark.parametrize(
    ("teacher", "path"),
    [
        ("{source: 'torchvision:resnet50', train: {epochz: 2}}", "teacher.train.epochz"),
        ("[{source: 'torchvision:resnet50'}, {source: 'torchvision:resnet34', train: {epochz: 2}}]", "teacher[1].train.epochz"),
        ("[{source: 'torchvision:resnet50'}, {source: 'torchvision:resnet43'}]", "teacher[1].source"),
        ("{sorce: 'torchvision:resnet50'}", "teacher.sorce"),
    ],
)
def test_one_teacher_or_several_are_told_apart(teacher, path):
    found = faults(SMALL + f"teacher: {teacher}\n")
    assert path in [each.path for each in found]
    assert {each.line for each in found} == {8}
    assert all("did you mean" in each.message or "missing" in each.message for each in found)


def test_what_is_neither_one_teacher_nor_several_is_told_once():
    found = fault(SMALL + "teacher: resnet50\n")
    assert (found.line, found.path) == (8, "teacher")
    assert found.message == "expected a block of keys or a list, got 'resnet50'"


def test_a_number_in_exponent_form_is_a_number():
    assert loads(small("epochs: 2", "lr: 3e-3")).stages[0].lr == 3e-3


def test_the_word_no_is_a_word():
    assert loads(small("epochs: 2", "precision: no")).stages[0].precision == "no"


def test_five_faults_are_all_reported_in_file_order():
    text = (
        DESIGN.replace("seed: 0", "seed: x")
        .replace("epochs: 10", "epochs: -1")
        .replace("importance: taylor", "importanze: taylor")
    )
    text = text.replace("samples: 256", "samples: 0").replace("jetson_orin_nano", "jetson_orin_nono")
    found = faults(text)
    assert [each.path for each in found] == [
        "seed",
        "stages[0].distill.epochs",
        "stages[1].prune.importanze",
        "stages[2].quantize.calibration.samples",
        "stages[4].profile.devices[2]",
    ]
    assert [each.line for each in found] == [2, 9, 15, 19, 21]
    assert "5 faults" in str(RecipeError("x", found))


# Faults that no single value shows.


@pytest.mark.parametrize("first", ["quantize", "export"])
@pytest.mark.parametrize("late", ["prune: {target: {macs: 0.5}}", "distill", "train"])
def test_a_stage_that_needs_torch_is_refused_after_one_that_leaves_a_file(first, late):
    found = fault(with_stages(first, late, teacher=True))
    name = late.partition(":")[0]
    assert (found.line, found.path) == (8, f"stages[1].{name}")
    assert (
        found.message
        == f"{name} needs a torch network, but {first} before it produces an ONNX file; move {name} before {first}"
    )


def test_an_impossible_order_is_told_beside_other_faults_of_the_same_stage():
    found = faults(with_stages("quantize", "train: {epochs: 0}", "prune: {granularity: chanel}"))
    assert {each.path for each in found} == {
        "stages[1].train",
        "stages[1].train.epochs",
        "stages[2].prune",
        "stages[2].prune.granularity",
        "stages[2].prune.target",
    }


def test_distillation_without_a_teacher_is_refused():
    found = fault(with_stages("distill"))
    assert (found.line, found.path) == (6, "stages[0].distill")
    assert "no teacher" in found.message


def test_distillation_on_hard_labels_alone_needs_no_teacher():
    loads(with_stages("distill: {losses: [task]}"))


def test_recovery_by_a_teacher_that_is_not_there_is_refused():
    found = fault(with_stages("prune: {target: {macs: 0.5}, recover: {teacher: teacher}}"))
    assert (found.line, found.path) == (6, "stages[0].prune.recover.teacher")
    loads(with_stages("prune: {target: {macs: 0.5}, recover: {teacher: teacher}}", teacher=True))
    loads(with_stages("prune: {target: {macs: 0.5}, recover: {teacher: parent}}"))


def test_a_teacher_that_no_stage_uses_is_allowed():
    assert len(loads(with_stages("export", teacher=True)).teachers) == 1


def test_an_unknown_device_offers_the_nearest():
    found = fault(with_stages("profile: {devices: [host, mobile_gpu]}"))
    assert (found.line, found.path) == (6, "stages[0].profile.devices[1]")
    assert "did you mean 'mobile_cpu'?" in found.message


@pytest.mark.parametrize("limit", ["latency_ms", "memory_mb", "power_w"])
def test_a_limit_on_an_unknown_device_is_told(limit):
    found = fault(with_stages("profile") + f"budget:\n  {limit}: {{hots: 1}}\n")
    assert (found.line, found.path) == (8, f"budget.{limit}.hots")
    assert "did you mean 'host'?" in found.message


def test_a_limit_on_a_device_that_nothing_profiles_is_told():
    found = fault(with_stages("profile: {devices: [host]}") + "budget:\n  latency_ms: {host: 1, mobile_cpu: 1}\n")
    assert (found.line, found.path) == (8, "budget.latency_ms.mobile_cpu")
    assert "no stage profiles mobile_cpu" in found.message


def test_a_short_name_of_a_device_is_written_out_so_that_limits_meet_measurements():
    from compress.config.devices import load_device

    alias = load_device("jetson_orin_nano").aliases[0]
    recipe = loads(with_stages(f"profile: {{devices: [{alias}]}}") + f"budget: {{latency_ms: {{{alias}: 1}}}}\n")
    assert targets(recipe.stages) == ("jetson_orin_nano",)
    assert recipe.budget.latency_ms == {"jetson_orin_nano": 1.0}


def test_a_device_given_as_a_file_is_read_beside_the_recipe(tmp_path):
    from compress.config.devices import folders

    shipped_profile = next(folder / "mobile_cpu.yaml" for folder in folders()[1:] if folder.is_dir())
    (tmp_path / "board.yaml").write_text(shipped_profile.read_text().replace("name: mobile_cpu", "name: board"))
    for limited in ("board", "board.yaml"):
        text = with_stages("profile: {devices: [board.yaml]}") + f"budget: {{latency_ms: {{{limited}: 1}}}}\n"
        (tmp_path / "r.yaml").write_text(text)
        recipe = load(tmp_path / "r.yaml").recipe
        assert targets(recipe.stages) == (str(tmp_path / "board.yaml"),)
        assert recipe.budget.latency_ms == {"board": 1.0}
        assert loads(resolved_yaml(recipe)) == recipe


def test_a_recipe_made_in_python_is_checked_alike():
    train = lookup("stage", "train").load()
    parts = {
        "name": "mine",
        "task": "classification",
        "data": DataSettings(),
        "model": ModelSettings(source="torchvision:resnet18"),
    }
    check(Recipe(**parts, stages=(train(), lookup("stage", "export").load()())))
    with pytest.raises(RecipeError, match="move train before export"):
        check(Recipe(**parts, stages=(lookup("stage", "export").load()(), train())))


# Changes, smoke, round trip.


def test_overrides_change_the_recipe_that_is_checked():
    recipe = loads(DESIGN, overrides=["stages.prune.target.macs=0.3", "stages.0.epochs=2", "data.image_size=32", "budget=null"])
    assert (recipe.stages[1].target.macs, recipe.stages[0].epochs, recipe.data.image_size, recipe.budget) == (0.3, 2, 32, None)


@pytest.mark.parametrize(
    ("change", "path", "said"),
    [
        ("data.imagesize=32", "data.imagesize", "did you mean 'image_size'?"),
        ("stages.train.epochs=0", "stages[0].train.epochs", "must be at least 1"),
        ("sede=1", "sede", "did you mean 'seed'?"),
        ("stages.trian.epochs=1", "", "did you mean 'train'?"),
    ],
)
def test_a_wrong_override_is_a_fault_without_a_line(change, path, said):
    found = fault(SMALL, change)
    assert (found.line, found.path) == (None, path)
    assert said in found.message
    assert "--set" in found.message


def test_smoke_shrinks_every_part():
    recipe, toy = loads(DESIGN), loads(DESIGN).smoke()
    assert toy.data == recipe.data.smoke() != recipe.data
    assert toy.teacher.train.epochs == 1
    assert toy.stages == tuple(stage.smoke() for stage in recipe.stages)
    assert [type(stage) for stage in toy.stages] == [type(stage) for stage in recipe.stages]
    assert loads(resolved_yaml(toy)) == toy


def test_smoke_keeps_the_number_of_teachers():
    both = "teacher: [{source: 'torchvision:resnet50', train: {}}, {source: 'torchvision:resnet34'}]\n"
    toy = loads(SMALL + both).smoke()
    assert [each.train and each.train.epochs for each in toy.teachers] == [1, None]
    assert loads(SMALL).smoke().teacher is None


@pytest.mark.parametrize(
    "stage",
    [
        "train: {epochs: 2}",
        "prune: {granularity: 'n:m', pattern: 2:4, target: {sparsity: 0.5}}",
        "prune: {granularity: weight, ranking: erk, target: {sparsity: 0.9}, schedule: {kind: rigl}}",
        "prune: {granularity: weight, target: {sparsity: 0.9}, schedule: {kind: lottery}}",
        "prune: {target: {latency_ms: 2.0, device: mobile_cpu}, round_to: device, max_ratio: {'layer4*': 0.2}}",
        "prune: {target: {macs: 0.5}, schedule: {kind: accuracy_aware}, sparse_training: {kind: slimming, epochs: 1}}",
        "quantize: {scheme: fp16}",
        "quantize: {scheme: weight_int4, accept_if: null}",
        "quantize: {mixed: {accuracy_drop: 0.002}, ptq: {equalize: true, weights: {bits: 4, rounding: adaround}}}",
    ],
)
def test_the_resolved_recipe_loads_to_an_equal_one_whatever_it_asks_for(stage):
    recipe = loads(SMALL.replace("train: {epochs: 2}", stage))
    assert loads(resolved_yaml(recipe)) == recipe
    assert loads(resolved_yaml(recipe.smoke())) == recipe.smoke()


def test_the_resolved_recipe_loads_to_an_equal_one():
    for text in (DESIGN, SMALL):
        recipe = loads(text)
        assert loads(resolved_yaml(recipe)) == recipe
        assert digest(loads(resolved_yaml(recipe))) == digest(recipe)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    lr=st.floats(1e-9, 1e3),
    clip=st.none() | st.floats(1e-6, 1e6),
    precision=st.sampled_from(["auto", "no", "bf16"]),
    name=st.from_regex(r"[a-z0-9][a-z0-9_-]*", fullmatch=True),
    args=st.dictionaries(
        st.text("abc", min_size=1), st.integers(-(2**63), 2**63) | st.booleans() | st.text("no1e-.:~ "), max_size=2
    ),
    teacher=st.booleans(),
)
def test_any_recipe_survives_being_written_and_read(seed, lr, clip, precision, name, args, teacher):
    train = lookup("stage", "train").load()
    recipe = Recipe(
        name=name,
        seed=seed,
        task="classification",
        data=DataSettings(),
        model=ModelSettings(source="torchvision:resnet18", args=args),
        teacher=TeacherSettings(source="torchvision:resnet34", train=Training(lr=lr)) if teacher else None,
        stages=(train(lr=lr, clip=clip, precision=precision), lookup("stage", "export").load()()),
    )
    again = loads(resolved_yaml(recipe))
    assert again == recipe
    assert digest(again) == digest(recipe)


def test_the_digest_sees_every_value_and_nothing_else():
    recipe = loads(SMALL)
    assert digest(recipe) == digest(loads("# a comment\n" + SMALL))
    assert digest(recipe) != digest(loads(small("epochs: 2", "epochs: 3")))
    assert len(digest(recipe)) == 12


def test_the_digest_does_not_depend_on_the_language():
    translated = loads(f"{SMALL}\nlanguage: zh\n")
    assert translated.language == "zh"
    assert digest(translated) == digest(loads(SMALL))


def test_an_unknown_language_is_an_error_that_names_the_known_ones():
    with pytest.raises(RecipeError, match="language: unknown value 'de': allowed: en, zh"):
        loads(f"{SMALL}\nlanguage: de\n")


def test_targets_are_the_host_where_nothing_is_named():
    assert targets(loads(SMALL).stages) == ("host",)


# What ships.


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_a_shipped_recipe_is_a_document(path, tmp_path):
    text = path.read_text(encoding="utf-8")
    assert load(path, overrides=own_files(path.stem, tmp_path)).recipe.name == path.stem
    assert len(text.splitlines()) < 60
    for heading in ("# What: ", "# Run: ", "# Expect: ", "# Sources: "):
        assert any(line.startswith(heading) for line in text.splitlines()), heading


def test_something_ships():
    assert "resnet50_to_mobilenet" in [path.stem for path in shipped()]


def test_reading_checking_and_describing_a_recipe_imports_nothing_heavy():
    code = (
        "import sys; from compress.config.recipe import load, schema, resolved_yaml, digest\n"
        "recipe = load('resnet50_to_mobilenet', smoke=True).recipe; schema(); resolved_yaml(recipe); digest(recipe)\n"
        "heavy = ('torch', 'torchvision', 'onnx', 'onnxruntime', 'matplotlib', 'sklearn')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
