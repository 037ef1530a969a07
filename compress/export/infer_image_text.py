"""Parts of `infer.py` for networks that take an image and a text: the inputs of both, and the vectors of one of them."""

from __future__ import annotations

from collections.abc import Callable

from compress.core.network_spec import NetworkSpec
from compress.export.infer_text import text_preprocessing, writing_constants

BOTH_INPUT = """INPUT is an image and texts, or images and one text, in quotes. What is a file is an image (or a .npy file
with an array of pixels in [0, 1], (C, H, W), of the network's size); texts of more than {most} tokens are cut."""
QUESTION_INPUT = """INPUT is an image (or a .npy file with an array of pixels in [0, 1], (C, H, W), of the network's size) and a
question in quotes; question and answer have {most} tokens at most."""
JOINED = '''
def run_tower(kind, feeds):
    """The vectors of images or of texts, float32 (N, D). The file takes both at once, so the other input is empty."""
    rows = len(next(iter(feeds.values())))
    image, tokens = np.zeros((rows, CHANNELS, HEIGHT, WIDTH), np.float32), np.ones((rows, 1), np.int64)
    empty = {"IMAGE": image, **{name: tokens for name in INPUTS}}
    return run({**empty, **feeds})[f"{kind}_embedding"]

'''
APART = '''def run_tower(kind, feeds, threads=1):
    """The vectors of images, from image.onnx, or of texts, from text.onnx, float32 (N, D)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(str(HERE / f"{kind}.onnx"), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]
'''
"""Of an artifact with a file for each tower."""

WHOLE = '''
def reader(image, threads=1):
    """A function from further tokens to the logits of the next one; it computes image and text again each time."""
    text = []

    def read(tokens):
        text.extend(tokens)
        row = np.array([text], dtype=np.int64)
        feeds = {**image, "input_ids": row, "attention_mask": np.ones_like(row)}
        return next(iter(run(feeds).values()))[0, -1]

    return read

'''
PARTS = '''def reader(image, threads=1):
    """A function from further tokens to the logits of the next one; the image and each token are computed once."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    vision, language = (
        onnxruntime.InferenceSession(str(HERE / name), options, providers=["CPUExecutionProvider"])
        for name in ("vision.onnx", "language.onnx")
    )
    inputs, visual, seen = {each.name: each.shape for each in language.get_inputs()}, vision.run(None, image)[0], 0
    past = {name: np.zeros((1, shape[1], 0, shape[3]), np.float32) for name, shape in inputs.items() if "past" in name}

    def read(tokens):
        nonlocal visual, past, seen
        total = seen + visual.shape[1] + len(tokens)
        feeds = {
            "visual_tokens": visual,
            "input_ids": np.array([tokens], np.int64),
            "attention_mask": np.ones((1, total), np.int64),
            "position_ids": np.arange(seen, total, dtype=np.int64)[None],
        }
        feeds = {name: array for name, array in feeds.items() if name in inputs}
        logits, *present = language.run(None, {**feeds, **past})
        visual, past, seen = visual[:, :0], dict(zip(past, present)), total
        return logits[0, -1]

    return read
'''
"""Of an artifact with vision and decoder in a file each."""


def image_text_preprocessing(spec: NetworkSpec, of_image: Callable[[NetworkSpec], str], run: str) -> tuple[str, str, str]:
    """What is given on the command line, the source of `image_inputs` and `text_inputs`, and that of `run_tower`.

    A network that writes has the source of `image_inputs`, constants, and that of `reader`.

    Args:
        spec: Inputs of the network.
        of_image: Source of `preprocess` for the image of a specification.
        run: Source of `run`, `APART` or `PARTS`.
    """
    image, text = spec.tower("image"), spec.tower("text")
    assert text.text is not None  # noqa: S101  # the text tower takes texts
    body = of_image(image).replace("def preprocess(path)", "def image_inputs(path)")
    if text.text.end_token is not None:
        return (
            QUESTION_INPUT.format(most=text.text.max_length),
            body + writing_constants(text.text),
            run if run == PARTS else f"{run}\n{WHOLE}".rstrip() + "\n",
        )
    _, of_texts = text_preprocessing(text, text.text)
    body += of_texts.replace("def preprocess(texts)", "def text_inputs(texts)")
    joined = JOINED.replace("IMAGE", image.signature.only_input.name)
    return BOTH_INPUT.format(most=text.text.max_length), body, run if run == APART else f"{run}\n{joined}".rstrip() + "\n"
