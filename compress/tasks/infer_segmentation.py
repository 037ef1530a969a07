"""Code of `infer.py` for segmentation networks: from logits to the mask of an image, with the colours of Pascal VOC."""

from __future__ import annotations

from compress.tasks.infer_code import InferCode

SEGMENT = InferCode(
    "Segment an image:  python infer.py image.png   (writes image.mask.png, of the image's size, and prints the classes)",
    '''

def palette():
    """Colours of class numbers as in Pascal VOC, 256 times red, green, blue."""
    colours = []
    for number in range(256):
        bits = [(number >> shift) & 1 for shift in range(8)] + [0]
        colours += [sum(bits[channel + 3 * step] << (7 - step) for step in range(3)) for channel in range(3)]
    return colours


def segment(path):
    """Class numbers of the pixels as an image with a palette; of the image's size where the network saw all of it."""
    logits = next(iter(run(preprocess(path)).values()))[0]
    mask = Image.fromarray(logits.argmax(0).astype(np.uint8))
    if RESIZE == "squash" and not str(path).endswith(".npy"):
        mask = mask.resize(open_image(path, CHANNELS).size, Image.Resampling.NEAREST)
    mask.putpalette(palette())
    return mask


if __name__ == "__main__":
    try:
        mask = segment(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__))
        target = Path(sys.argv[1]).with_suffix(".mask.png")
        mask.save(target)
    except (OSError, ValueError) as error:
        sys.exit(f"cannot segment {sys.argv[1]}: {error}")
    labels = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
    numbers, counts = np.unique(np.asarray(mask), return_counts=True)
    print(f"wrote {target}")
    for number, count in sorted(zip(numbers, counts), key=lambda each: -each[1]):
        print(f"{count / counts.sum():6.1%}  {labels[number]}")
''',
)
