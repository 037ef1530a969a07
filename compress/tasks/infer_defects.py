"""What the shipped `infer.py` of inspection and of anomaly detection does: score, threshold and verdict of a part."""

from __future__ import annotations

from compress.tasks.infer_code import InferCode

_VERDICT = '''

POINT = json.loads((HERE / "threshold.json").read_text(encoding="utf-8"))
LABELS = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))


def verdict(score):
    """Whether a part is good, in words; a score that is not finite is no verdict."""
    if not np.isfinite(score):
        raise ValueError("its score is not finite")
    return "defect" if score > POINT["threshold"] else POINT["good"]
'''

INSPECT = InferCode(
    "Inspect a part:  python infer.py image.png   (prints the verdict, the score and the likeliest kind of defect)",
    _VERDICT
    + '''

def inspect(path):
    """Score log(P(defect) / P(good)) of a part, and its likeliest kind of defect."""
    logits = next(iter(run(preprocess(path)).values()))[0].astype(np.float64)
    good = LABELS.index(POINT["good"])
    kinds = np.delete(np.arange(len(LABELS)), good)
    largest = logits[kinds].max()
    score = largest + np.log(np.exp(logits[kinds] - largest).sum()) - logits[good]
    return float(score), LABELS[kinds[logits[kinds].argmax()]]


if __name__ == "__main__":
    try:
        score, kind = inspect(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__))
        answer = verdict(score)
    except (OSError, ValueError) as error:
        sys.exit(f"cannot inspect {sys.argv[1]}: {error}")
    print(f"{answer}  score {score:.4f}, threshold {POINT['threshold']:.4f}")
    if answer == "defect":
        print(f"likeliest kind: {kind}")
''',
)

FIND_ANOMALY = InferCode(
    "Look for anomalies:  python infer.py image.png [map.png]   (prints verdict and score, and writes the anomaly map)",
    _VERDICT
    + '''

def find_anomaly(path):
    """Score of a part, and its map (h, w): where it is unlike good parts."""
    outputs = run(preprocess(path))
    return float(outputs["score"][0]), outputs["map"][0]


if __name__ == "__main__":
    try:
        if len(sys.argv) not in (2, 3):
            sys.exit(__doc__)
        score, heat = find_anomaly(sys.argv[1])
        answer = verdict(score)
        shades = np.clip(255 * heat / max(float(heat.max()), POINT["threshold"]), 0, 255).astype(np.uint8)
        height, width = shades.shape
        Image.fromarray(shades).resize((8 * width, 8 * height)).save(sys.argv[2] if len(sys.argv) == 3 else "map.png")
    except (OSError, ValueError) as error:
        sys.exit(f"cannot look for anomalies in {sys.argv[1]}: {error}")
    print(f"{answer}  score {score:.6g}, threshold {POINT['threshold']:.6g}")
''',
)
