"""Run a model on the tested machine, which may be emulated; needs only NumPy and ONNX Runtime.

python agent.py SITE MODEL INPUTS FOLDER     INPUTS is an .npy file of the only input, or an .npz file of arrays by name;
                                                  writes FOLDER/outputs.npy and FOLDER/facts.json
python agent.py SITE MODEL TEXTS.json FOLDER tokens of prompts and of their texts, for a network that writes texts; MODEL is the
                                                  decoder; writes FOLDER/0.npy, 1.npy …, logits of each text, and facts.json
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime

REFUSED = 3
"""Exit status if the runtime cannot load or run the model; the last line of standard error is the reason."""


def run_batches(session: onnxruntime.InferenceSession, inputs: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray:
    """First output for every sample, run one by one as on a device, or in batches of the fixed batch size of the file.

    Args:
        session: ONNX Runtime session.
        inputs: (N, …), N ≥ 1, of the only input; or such arrays by name. An array with one axis more than its input has
            samples of an input without batch axis, which are run one by one.

    Returns:
        Outputs, (N, …).
    """
    import numpy as np

    specs = {spec.name: spec.shape for spec in session.get_inputs()}
    arrays = inputs if isinstance(inputs, Mapping) else {next(iter(specs)): inputs}
    whole = {name for name, shape in specs.items() if name in arrays and arrays[name].ndim == len(shape) + 1}
    fixed = [shape[0] for name, shape in specs.items() if name not in whole and shape and isinstance(shape[0], int)]
    size = 1 if whole or not fixed else fixed[0]
    outputs = []
    for start in range(0, len(next(iter(arrays.values()))), size):
        batches = {name: array[start : start + size] for name, array in arrays.items()}
        missing = size - len(next(iter(batches.values())))
        if missing:
            batches = {
                name: np.concatenate([batch, np.zeros((missing, *batch.shape[1:]), batch.dtype)])
                for name, batch in batches.items()
            }
        output = session.run(None, {name: batch[0, ...] if name in whole else batch for name, batch in batches.items()})[0]
        outputs.append(output[None] if whole else output[: size - missing])
    return np.concatenate(outputs)


CACHE_TYPES = {"tensor(int8)": "int8", "tensor(uint8)": "uint8"}
"""Types of keys and values that are not float32; uint8 holds two numbers of 4 bits."""


class WritingNetwork:
    """A network that reads a prompt and then the tokens of a text, for one text after the other.

    Args:
        decoder: Session of the decoder, with or without past keys and values, or of a whole encoder-decoder.
        encoder: Session of the encoder of an encoder-decoder whose parts are files of their own; None for none.
    """

    def __init__(self, decoder: onnxruntime.InferenceSession, encoder: onnxruntime.InferenceSession | None = None) -> None:
        self.decoder, self.encoder = decoder, encoder
        self.inputs = {spec.name: spec for spec in decoder.get_inputs()}
        self.outputs = [spec.name for spec in decoder.get_outputs()]
        self.is_apart = "decoder_input_ids" in self.inputs

    def begin(self, prompt: Sequence[int]) -> np.ndarray:
        """Logits of the first token after a prompt, (V,)."""
        import numpy as np

        ids = np.array([prompt], np.int64)
        self.given: dict[str, np.ndarray] = {"input_ids": ids, "attention_mask": np.ones_like(ids)} if self.is_apart else {}
        if self.encoder is not None:
            names = [spec.name for spec in self.encoder.get_outputs()]
            feeds = {spec.name: self.given[spec.name] for spec in self.encoder.get_inputs()}
            self.given.update(zip(names, self.encoder.run(names, feeds), strict=True))
        pasts = {name: spec for name, spec in self.inputs.items() if name.startswith("past_key_values.")}
        self.past = {
            name: np.zeros((1, spec.shape[1], 0, spec.shape[3]), CACHE_TYPES.get(spec.type, "float32"))
            for name, spec in pasts.items()
        }
        self.tokens: list[int] = []
        return self.read([0] if self.is_apart else prompt)  # an encoder-decoder puts its own start in the place of 0

    def read(self, tokens: Sequence[int]) -> np.ndarray:
        """Logits of the token after the next ones, (V,)."""
        import numpy as np

        seen = len(self.tokens) if self.past else 0
        self.tokens += tokens
        ids = np.array([self.tokens[seen:]], np.int64)
        mask = np.ones((1, len(self.tokens)), np.int64)
        names = ("decoder_input_ids", "decoder_attention_mask") if self.is_apart else ("input_ids", "attention_mask")
        places = np.arange(seen, len(self.tokens), dtype=np.int64)[None]
        feeds = {**self.given, **dict(zip(names, (ids, mask), strict=True)), "position_ids": places, **self.past}
        logits, *present = self.decoder.run(self.outputs, {name: feeds[name] for name in self.inputs})
        self.past = dict(zip(self.past, present, strict=True))
        row: np.ndarray = logits[0, -1]
        return row


def text_logits(network: WritingNetwork, prompt: Sequence[int], text: Sequence[int]) -> np.ndarray:
    """Logits of each token of a text that is known, (T, V)."""
    import numpy as np

    rows = [network.begin(prompt), *(network.read([token]) for token in text[:-1])]
    return np.stack(rows)


def greedy_text(network: WritingNetwork, prompt: Sequence[int], most: int, end: int) -> Iterator[tuple[int, np.ndarray]]:
    """The likeliest token after the others with its logits, (V,), up to `most` ones or `end`, which is the last one."""
    logits = network.begin(prompt)
    for count in range(1, most + 1):
        token = int(logits.argmax())
        yield token, logits
        if token == end or count == most:
            return
        logits = network.read([token])


def run_texts(arguments: Path, create: Callable[[str], onnxruntime.InferenceSession], decoder: str, folder: Path) -> None:
    """Write the logits of each text of a file: `{"encoder": PATH or null, "prompts": [[…]], "texts": [[…]]}`."""
    import numpy as np

    texts = json.loads(arguments.read_text(encoding="utf-8"))
    network = WritingNetwork(create(decoder), create(texts["encoder"]) if texts["encoder"] else None)
    for index, (prompt, text) in enumerate(zip(texts["prompts"], texts["texts"], strict=True)):
        np.save(folder / f"{index}.npy", text_logits(network, prompt, text))


def main(site: str, model: str, inputs: str, folder: str) -> int:
    """Run the model and write outputs and versions; returns the exit status."""
    if site:
        sys.path.insert(0, site)
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = 1, 1, 3

    def create(path: str) -> onnxruntime.InferenceSession:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    try:
        if inputs.endswith(".json"):
            run_texts(Path(inputs), create, model, Path(folder))
        else:
            session, arrays = create(model), np.load(inputs)
            arrays = {name: arrays[name] for name in arrays.files} if inputs.endswith(".npz") else arrays
            np.save(Path(folder) / "outputs.npy", run_batches(session, arrays))
    except Exception as error:  # the runtime's exceptions have no common base but Exception
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return REFUSED
    facts = {"onnxruntime": onnxruntime.__version__, "numpy": np.__version__, "machine": platform.machine()}
    (Path(folder) / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
