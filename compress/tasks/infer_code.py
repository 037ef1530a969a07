"""Code for the outputs of a network in `infer.py`: Python source that needs only numpy and Pillow.

The script provides `preprocess(path)`, which returns the inputs of the network by name, and `run(feeds)`, which returns its
outputs by name, and imports `json`, `sys`, `np`, `Image`, `HERE` and `Path`.
"""

from __future__ import annotations

from typing import NamedTuple


class InferCode(NamedTuple):
    """The part of `infer.py` for a task.

    Attributes:
        purpose: First line of its help, with the command; `INPUT` stands for the file that is given.
        source: Functions, and the code that runs when the script is started.
    """

    purpose: str
    source: str


CLASSIFY = InferCode(
    "Print the likeliest classes:  python infer.py INPUT",
    '''

def classify(path, top=5):
    """The `top` classes with their probabilities, the likeliest first."""
    logits = next(iter(run(preprocess(path)).values()))[0]
    chances = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    labels = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
    return [(labels[k], float(chances[k])) for k in np.argsort(-chances)[:top]]


if __name__ == "__main__":
    try:
        answers = classify(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__))
    except (OSError, ValueError) as error:
        sys.exit(f"cannot classify {sys.argv[1]}: {error}")
    for label, probability in answers:
        print(f"{probability:6.1%}  {label}")
''',
)

OUTPUTS = InferCode(
    "Run the network:  python infer.py INPUT   (prints its outputs, and writes them to outputs.npz)",
    """

if __name__ == "__main__":
    try:
        outputs = run(preprocess(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__)))
    except (OSError, ValueError) as error:
        sys.exit(f"cannot run {sys.argv[1]}: {error}")
    np.savez("outputs.npz", **outputs)
    for name, values in outputs.items():
        print(f"{name}: {values.dtype} {values.shape}, from {values.min()} to {values.max()}")
""",
)
"""Code for a task without its own script."""
