"""Recipes of the artifacts of small networks that write texts."""

from __future__ import annotations

from pathlib import Path

TOKENIZER = "tokenizer: {train: bpe, vocabulary: 300, lowercase: false}"


def response_recipe(rows: Path, folder: Path, *, columns: str = "prompt: prompt, response: response") -> str:
    """Path of a recipe of an encoder-decoder with these prompts and responses."""
    path = folder / "responses.yaml"
    path.write_text(
        f"name: responses\ntask: sequence_to_sequence\n"
        f"data: {{source: 'jsonl:{rows}', columns: {{{columns}}}, lengths: {{typical: 12, most: 32}}, {TOKENIZER}}}\n"
        "model: {source: 'encoder_decoder:tiny', args: {layers: 2, width: 32, heads: 2}}\n"
        "stages: [export]\n"
    )
    return str(path)


def language_recipe(folder: Path, *, words: str | None = None) -> str:
    """Path of a recipe of the small language model with the texts that its tokenizer was trained on, or other ones."""
    from tests.export.decoder_artifacts import WORDS

    texts = [" ".join(WORDS[(number * step + step) % 8] for step in range(1, 30)) for number in range(60)]
    texts = [words] * 60 if words else texts
    for name, rows in (("train", texts[:40]), ("val", texts[40:50]), ("test", texts[50:])):
        (folder / f"{name}.txt").write_text("\n".join(rows) + "\n")
    path = folder / "language.yaml"
    path.write_text(
        f"name: language\ntask: causal_language_model\n"
        f"data: {{source: 'text:{folder}', lengths: {{typical: 16, most: 48}}, {TOKENIZER}}}\n"
        "model: {source: 'decoder:tiny', args: {layers: 2, width: 64, heads: 4, key_value_heads: 2, feed_forward: 96}}\n"
        "stages: [export]\n"
    )
    return str(path)
