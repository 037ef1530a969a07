"""Code for `infer.py` of networks that take texts.

The script of an artifact defines `preprocess(texts)`, which returns the inputs of the network by name, and `run(feeds)`, which
returns its outputs by name, and imports `json`, `sys`, `np`, `HERE` and `Path`.
"""

from __future__ import annotations

from compress.tasks.infer_code import InferCode

_MAIN = """

if __name__ == "__main__":
    for name, value in {function}(*(sys.argv[1:] if len(sys.argv) in (2, 3) else sys.exit(__doc__))):
        print({line})
"""

CLASSIFY_TEXT = InferCode(
    "Print the likeliest classes:  python infer.py INPUT",
    '''

def classify(*text, top=5):
    """The `top` classes of a text or a pair with their probabilities, the likeliest first."""
    logits = next(iter(run(preprocess([text if text[1:] else text[0]])).values()))[0]
    chances = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    labels = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
    return [(labels[k], float(chances[k])) for k in np.argsort(-chances)[:top]]
'''
    + _MAIN.format(function="classify", line='f"{value:6.1%}  {name}"'),
)
TAG_TEXT = InferCode(
    "Print the classes:  python infer.py INPUT",
    '''

def tag(*text, least=0.5):
    """The classes of a text or a pair of a probability of `least` or more, the likeliest first."""
    chances = 1 / (1 + np.exp(-next(iter(run(preprocess([text if text[1:] else text[0]])).values()))[0]))
    labels = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
    return [(labels[k], float(chances[k])) for k in np.argsort(-chances) if chances[k] >= least]
'''
    + _MAIN.format(function="tag", line='f"{value:6.1%}  {name}"'),
)
PREDICT_TEXT = InferCode(
    "Print the values:  python infer.py INPUT",
    '''

def predict(*text):
    """The values of a text or a pair by their names."""
    values = next(iter(run(preprocess([text if text[1:] else text[0]])).values()))[0]
    labels = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
    return list(zip(labels, map(float, values)))
'''
    + _MAIN.format(function="predict", line='f"{name}: {value:.6g}"'),
)
