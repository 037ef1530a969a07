"""Figures that a stage saved itself."""

from pathlib import Path

from compress.core.atomic_files import sha256
from compress.core.plot_style import new_figure, to_png
from compress.core.run_record import RunRecord
from compress.pipeline.report.figures.saved_figures import saved_figures


def test_only_unchanged_png_files_of_the_folder_are_shown(record: RunRecord, tmp_path: Path) -> None:
    stage = record.stages[0]
    folder = tmp_path / f"{stage.index:02d}-{stage.name}" / "figures"
    folder.mkdir(parents=True)
    names = ("figures/samples.png", "figures/changed.png", "figures/missing.png", "other/samples.png", "figures/notes.txt")
    for name in ("samples.png", "changed.png", "notes.txt"):
        (folder / name).write_bytes(to_png(new_figure(1, 1), "ten samples of each class"))
    files = {name: sha256(folder / Path(name).name) if (folder / Path(name).name).exists() else "0" * 64 for name in names}
    files["figures/changed.png"] = "0" * 64
    (folder / "no_png.png").write_bytes(b"x")
    (tmp_path / "outside.png").write_bytes(to_png(new_figure(1, 1)))
    files |= {"figures/no_png.png": sha256(folder / "no_png.png"), "": "0" * 64}
    files["figures/../../outside.png"] = sha256(tmp_path / "outside.png")
    (picture,) = saved_figures(stage.model_copy(update={"files": files}), tmp_path)
    assert picture.name == "01_distill_samples"
    assert picture.caption == "Stage 1, distill: ten samples of each class."
    assert picture.section == "stage-1"
