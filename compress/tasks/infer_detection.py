"""What the shipped `infer.py` of a detector does: decoding and non-maximum suppression in numpy, and boxes on the image."""

from __future__ import annotations

from compress.tasks.infer_code import InferCode

DETECT = InferCode(
    "Detect objects:  python infer.py image.png [boxes.png]   (prints boxes in pixels of the image, and draws them)",
    '''

def decode(offsets, anchors):
    """Boxes (A, 4) as corners in pixels of the network's input, from offsets and anchors, (A, 4)."""
    size = anchors[:, 2:] - anchors[:, :2]
    centre = anchors[:, :2] + size / 2 + offsets[:, :2] * size
    half = size * np.exp(np.minimum(offsets[:, 2:], np.log(1000 / 16))) / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    return np.clip(boxes, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT])


def suppress(boxes, scores, iou):
    """Indices of the boxes that overlap no better one by more than `iou`, the best first."""
    areas, order, kept = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1), np.argsort(-scores, kind="stable"), []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        sides = np.minimum(boxes[best, 2:], boxes[rest, 2:]) - np.maximum(boxes[best, :2], boxes[rest, :2])
        overlap = np.maximum(sides, 0).prod(axis=1)
        order = rest[overlap <= iou * (areas[best] + areas[rest] - overlap)]
    return np.array(kept, dtype=int)


def detect(path, least_score=0.3, iou=0.5, most=100):
    """Detections of an image: (label, score, (x1, y1, x2, y2)) with corners as fractions of its sides, the best first."""
    outputs = run(preprocess(path))
    scores = 1 / (1 + np.exp(-outputs["class_logits"][0].astype(np.float64)))
    boxes = decode(outputs["boxes"][0].astype(np.float64), outputs["anchors"][0].astype(np.float64))
    labels = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
    answers = []
    for k, label in enumerate(labels):
        rows = np.flatnonzero(scores[:, k] > least_score)
        rows = rows[suppress(boxes[rows], scores[rows, k], iou)] if len(rows) else rows
        sides = [WIDTH, HEIGHT, WIDTH, HEIGHT]
        answers += [(label, float(scores[row, k]), tuple((boxes[row] / sides).tolist())) for row in rows]
    return sorted(answers, key=lambda answer: -answer[1])[:most]


def draw(path, answers, target):
    """Write the image with its boxes, labels and scores."""
    from PIL import ImageDraw

    image = open_image(path, 3)
    canvas = ImageDraw.Draw(image)
    for label, score, box in answers:
        corners = [value * side for value, side in zip(box, image.size * 2)]
        canvas.rectangle(corners, outline=(255, 40, 40), width=max(1, min(image.size) // 200))
        canvas.text((corners[0] + 2, corners[1] + 1), f"{label} {score:.2f}", fill=(255, 40, 40))
    image.save(target)
    return image.size


if __name__ == "__main__":
    try:
        if len(sys.argv) not in (2, 3):
            sys.exit(__doc__)
        answers, size = detect(sys.argv[1]), (WIDTH, HEIGHT)
        if not sys.argv[1].endswith(".npy"):
            size = draw(sys.argv[1], answers, sys.argv[2] if len(sys.argv) == 3 else "boxes.png")
    except (OSError, ValueError) as error:
        sys.exit(f"cannot detect objects in {sys.argv[1]}: {error}")
    for label, score, box in answers:
        print(f"{score:6.1%}  {label}  " + " ".join(f"{value * side:.1f}" for value, side in zip(box, size * 2)))
''',
)
