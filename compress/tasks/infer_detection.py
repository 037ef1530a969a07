"""Code of `infer.py` for detectors: decoding and non-maximum suppression in numpy, and drawing of boxes."""

from __future__ import annotations

import inspect

from compress.tasks import numpy_detections
from compress.tasks.detection_outputs import MOST_DETECTIONS, NMS_IOU
from compress.tasks.infer_code import InferCode

MARKER = "# --- copied into infer.py from here on ---\n"
DETECT = InferCode(
    "Detect objects:  python infer.py image.png [boxes.png]   (prints boxes in pixels of the image, and draws them)",
    "\n\n"
    + inspect.getsource(numpy_detections).partition(MARKER)[2]
    + f'''

def detect(path, least_score=0.3, iou={NMS_IOU}, most={MOST_DETECTIONS}):
    """Detections of an image: (label, score, (x1, y1, x2, y2)) with corners as fractions of its sides, the best first."""
    outputs = run(preprocess(path))
    if "detected_boxes" in outputs:  # decoding and suppression are part of model.onnx
        boxes, scores, classes = (outputs[f"detected_{{part}}"][0] for part in ("boxes", "scores", "classes"))
        boxes, scores, classes = (values[scores > least_score] for values in (boxes, scores, classes))
    else:
        arrays = tuple(outputs[name][0].astype(np.float32) for name in ("class_logits", "boxes", "anchors"))
        boxes, scores, classes = select_detections(arrays, (WIDTH, HEIGHT), least_score, iou, most)
    labels = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
    corners = (boxes / [WIDTH, HEIGHT, WIDTH, HEIGHT]).tolist()
    return [(labels[k], float(score), tuple(box)) for k, score, box in zip(classes, scores, corners)]


'''
    + '''\
def place_label(box, size, taken, sides):
    """Left and top of a label of this size: at the first place by the box that is free, else where it hides least of others.

    Places are over the top, inside it, below the bottom, and inside that, each from the left and from the right, then at
    heights along both sides. All are moved into the image.
    """
    (left, top, right, bottom), (width, height) = box, size
    rows = [top - height, top, bottom, bottom - height, *np.arange(top + height, bottom - 2 * height, height)]
    places = [(x, y) for y in rows for x in (left, right - width)] + [(x, y) for y in rows for x in (left - width, right)]
    places = [(min(max(x, 0), max(0, sides[0] - width)), min(max(y, 0), max(0, sides[1] - height))) for x, y in places]

    def hidden(place):
        x, y = place
        return sum(
            max(0, min(x + width, x2) - max(x, x1)) * max(0, min(y + height, y2) - max(y, y1)) for x1, y1, x2, y2 in taken
        )

    return min(places, key=hidden)


def draw(path, answers, target):
    """Write the image with its boxes, labels and scores; the label of a better detection is placed first."""
    from PIL import ImageDraw

    image = open_image(path, 3)
    canvas, taken = ImageDraw.Draw(image), []
    boxes = [[value * side for value, side in zip(box, image.size * 2)] for _, _, box in answers]
    for box in boxes:
        canvas.rectangle(box, outline=(255, 40, 40), width=max(1, min(image.size) // 200))
    for (label, score, _), box in zip(answers, boxes):
        text = f"{label} {score:.2f}"
        x1, y1, x2, y2 = canvas.textbbox((0, 0), text)
        x, y = place_label(box, (x2 - x1 + 2, y2 - y1 + 2), taken, image.size)
        taken.append((x, y, x + x2 - x1 + 2, y + y2 - y1 + 2))
        canvas.rectangle(taken[-1], fill=(255, 40, 40))
        canvas.text((x + 1 - x1, y + 1 - y1), text, fill=(255, 255, 255))
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
