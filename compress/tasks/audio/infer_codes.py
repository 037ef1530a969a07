"""Code of `infer.py` for networks of audio: the text of a file.

The script of an artifact defines `preprocess(path)`, `run(feeds)` and `HERE`, and imports `json`, `sys` and `np`.
"""

from __future__ import annotations

import inspect

from compress.data.characters import BLANK
from compress.tasks.ctc_beam import PRUNED, WIDTH, beam_classes
from compress.tasks.infer_code import InferCode

_MAIN = """

if __name__ == "__main__":
    try:
        print(transcribe(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__)))
    except (OSError, ValueError) as error:
        sys.exit(f"cannot read {sys.argv[1]}: {error}")
"""

WRITE_TRANSCRIPT = InferCode(
    "Print what is said:  python infer.py INPUT",
    '''

def transcribe(path):
    """The text of a clip: the likeliest class of each frame, equal neighbours merged, blanks left out."""
    best = next(iter(run(preprocess(path)).values()))[0].argmax(axis=1)
    labels = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
    return "".join(labels[k] for k, before in zip(best, [0, *best]) if k and k != before)

'''
    + _MAIN,
)
WRITE_BY_BEAM = InferCode(
    "Print what is said:  python infer.py INPUT",
    f'''
BLANK, PRUNED, WIDTH = {BLANK}, {PRUNED}, {WIDTH}


{inspect.getsource(beam_classes)}

def transcribe(path):
    """The likeliest text of a clip that a prefix-beam search finds."""
    logits = next(iter(run(preprocess(path)).values()))[0].astype(np.float64)
    log_p = logits - logits.max(axis=1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    labels = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
    return "".join(labels[k] for k in beam_classes(log_p, WIDTH))
'''
    + _MAIN,
)
STREAM_TRANSCRIPT = InferCode(
    "Print what is said, chunk by chunk",
    '''
class Teller:
    """Writes the text of a stream."""

    def __init__(self):
        self.labels = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
        self.before = 0

    def tell(self, logits):
        """The new text after the logits of a chunk, (T, K)."""
        text = ""
        for best in logits.argmax(axis=1):
            text += self.labels[best] if best and best != self.before else ""
            self.before = best
        return text

    def end(self):
        """The text after the last chunk."""
        return "\\n"

''',
)
