"""Code of `infer.py` for networks of audio: the text of a file.

The script of an artifact defines `preprocess(path)`, `run(feeds)` and `HERE`, and imports `json`, `sys` and `np`.
"""

from __future__ import annotations

from compress.tasks.infer_code import InferCode

WRITE_TRANSCRIPT = InferCode(
    "Print what is said:  python infer.py INPUT",
    '''

def transcribe(path):
    """The text of a clip: the likeliest class of each frame, equal neighbours merged, blanks left out."""
    best = next(iter(run(preprocess(path)).values()))[0].argmax(axis=1)
    labels = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
    return "".join(labels[k] for k, before in zip(best, [0, *best]) if k and k != before)


if __name__ == "__main__":
    try:
        print(transcribe(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__)))
    except (OSError, ValueError) as error:
        sys.exit(f"cannot read {sys.argv[1]}: {error}")
''',
)
