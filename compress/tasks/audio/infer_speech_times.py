"""Code of `infer.py` and `stream.py` of voice activity: from when to when somebody speaks."""

from __future__ import annotations

from compress.tasks.infer_code import InferCode

FIND_SPEECH = InferCode(
    "Print from which to which second somebody speaks:  python infer.py INPUT",
    '''

POINT = json.loads((HERE / "threshold.json").read_text(encoding="utf-8"))


def find_speech(path):
    """From and to of each span of speech, seconds."""
    logits = next(iter(run(preprocess(path)).values()))[0]
    speech = np.concatenate([[False], logits[:, 1] - logits[:, 0] >= POINT["threshold"], [False]])
    edges = np.flatnonzero(speech[1:] != speech[:-1]) * POINT["frame_s"]
    return edges.reshape(-1, 2)


if __name__ == "__main__":
    try:
        spans = find_speech(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__))
    except (OSError, ValueError) as error:
        sys.exit(f"cannot read {sys.argv[1]}: {error}")
    for start, end in spans:
        print(f"{start:.2f} {end:.2f}")
''',
)
TELL_SPEECH = InferCode(
    "Print from which to which second somebody speaks, chunk by chunk",
    '''
class Teller:
    """Tells when speech begins and ends."""

    def __init__(self):
        self.point = json.loads((HERE / "threshold.json").read_text(encoding="utf-8"))
        self.frames, self.speaks = 0, False

    def tell(self, logits):
        """The new text after the logits of a chunk, (T, 2)."""
        text = ""
        for speaks in logits[:, 1] - logits[:, 0] >= self.point["threshold"]:
            if speaks != self.speaks:
                text += f"{self.frames * self.point['frame_s']:.2f}" + (" " if speaks else "\\n")
            self.speaks = speaks
            self.frames += 1
        return text

    def end(self):
        """The text after the last chunk."""
        return f"{self.frames * self.point['frame_s']:.2f}\\n" if self.speaks else ""

''',
)
