"""What `compress init` offers for each task: networks, data, and the stages that suit them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Chain = Literal["image", "defects", "encoder", "image_text", "visual_language", "decoder", "writer", "audio", "file"]
"""Kind of stages: networks of images, of good parts alone, of texts, of both, of answers on images, of next tokens, of texts
from texts, of audio, or an ONNX file."""

IMAGE_FOLDER = "imagefolder:photos"
FOLDER_KEYS: Mapping[str, str] = {
    "imagefolder": "image_size: 96",
    "masks": "image_size: 96",
    "coco": "image_size: 320",
    "voc": "image_size: 320",
    "yolo": "image_size: 320",
    "digits": "image_size: 64",
    "drawn_parts": "image_size: 48, channels: 1",
    "shapes_masks": "image_size: 48",
    "image_captions": "image_size: 96",
    "drawn_captions": "image_size: 32, samples: 2000",
    "image_questions": "image_size: 96",
    "drawn_shape_questions": "image_size: 32, samples: 4000, augment: none",
    "image_lines": "image_size: [32, 160]",
    "drawn_lines": "image_size: [32, 160], samples: 2000, augment: none",
    "drawn_boxes": "image_size: 64, samples: 1000, test: 0.5",
}
"""Further keys of `data:` by source."""
AUDIO = "audio: {rate: 16000, typical: 2.0, most: 15.0}"
"""Hz and seconds of clips of audio."""
TOKENIZER: Mapping[str, str] = {
    "encoder": "tokenizer: {train: wordpiece, vocabulary: 4000}",
    "dual_encoder": "tokenizer: {train: wordpiece, vocabulary: 4000}",
    "encoder_decoder": "tokenizer: {train: bpe, vocabulary: 4000}",
    "decoder": "tokenizer: {train: bpe, vocabulary: 4000}",
    "visual_language": "tokenizer: {train: bpe, vocabulary: 4000}",
}
"""`data.tokenizer` of a network that brings none, by its source."""


@dataclass(frozen=True)
class Offer:
    """What is offered for a task.

    Attributes:
        networks: Sources of networks, the default first; any other source may be named.
        data: Sources of data, the default first; any other source may be named.
        chain: Kind of stages.
        tolerance: Default of the largest loss of the deciding metric, in its unit.
        columns: Columns of a table of texts, as YAML; empty for the defaults.
    """

    networks: tuple[str, ...]
    data: tuple[str, ...]
    chain: Chain = "image"
    tolerance: float = 0.01
    columns: str = ""


OFFERS: Mapping[str, Offer] = {
    "classification": Offer(
        ("torchvision:mobilenet_v2", "torchvision:resnet18", "torchvision:mobilenet_v3_small", "python:nets.py:network"),
        (IMAGE_FOLDER, "digits", "npz:arrays"),
    ),
    "multilabel": Offer(
        ("torchvision:mobilenet_v2", "python:nets.py:network"),
        ("npz:tags",),
    ),
    "regression": Offer(
        ("torchvision:mobilenet_v2", "python:nets.py:network"),
        ("npz:people",),
        tolerance=0.1,
    ),
    "segmentation": Offer(
        ("segmenter:small", "torchvision:lraspp_mobilenet_v3_large"),
        ("masks:streets", "shapes_masks"),
        tolerance=0.02,
    ),
    "detection": Offer(
        ("detector:small", "torchvision:ssdlite320_mobilenet_v3_large"),
        ("coco:boxes.json", "voc:boxes", "yolo:boxes", "drawn_boxes"),
        tolerance=0.02,
    ),
    "inspection": Offer(
        ("torchvision:mobilenet_v2", "torchvision:resnet18"),
        ("imagefolder:parts", "drawn_parts"),
        tolerance=0.05,
    ),
    "anomaly": Offer(
        ("anomaly:small",),
        ("imagefolder:parts", "drawn_parts"),
        "defects",
        tolerance=0.05,
    ),
    "text_classification": Offer(
        ("encoder:tiny", "hf:my_encoder"),
        ("csv:texts.csv", "jsonl:texts.jsonl", "python_docs"),
        "encoder",
    ),
    "token_classification": Offer(
        ("encoder:tiny", "hf:my_encoder"),
        ("csv:words.csv", "jsonl:words.jsonl"),
        "encoder",
    ),
    "question_answering": Offer(
        ("encoder:tiny", "hf:my_encoder"),
        ("csv:questions.csv", "jsonl:questions.jsonl"),
        "encoder",
        columns="text_pair: second",
    ),
    "embedding": Offer(
        ("encoder:tiny", "hf:my_encoder"),
        ("csv:pairs.csv", "jsonl:pairs.jsonl"),
        "encoder",
        columns="text_pair: second",
    ),
    "image_text": Offer(
        ("dual_encoder:tiny", "dual_encoder:small", "dual_encoder:base"),
        ("image_captions:pairs.csv", "drawn_captions"),
        "image_text",
        tolerance=0.05,
    ),
    "image_to_text": Offer(
        ("crnn:small",),
        ("image_lines:lines.csv", "drawn_lines"),
        "image",
        tolerance=0.01,
    ),
    "visual_language": Offer(
        ("visual_language:small",),
        ("image_questions:table.csv", "drawn_shape_questions"),
        "visual_language",
        tolerance=0.05,
    ),
    "masked_language_model": Offer(
        ("encoder:tiny", "hf:my_encoder"),
        ("text:texts.txt", "csv:texts.csv"),
        "encoder",
        tolerance=1.0,
    ),
    "causal_language_model": Offer(
        ("decoder:tiny", "hf:my_decoder"),
        ("text:texts.txt", "csv:texts.csv"),
        "decoder",
        tolerance=1.0,
    ),
    "sequence_to_sequence": Offer(
        ("encoder_decoder:tiny", "hf:my_t5"),
        ("csv:pairs.csv", "jsonl:pairs.jsonl"),
        "writer",
        tolerance=1.0,
        columns="prompt: text, response: target",
    ),
    "speech_ctc": Offer(
        ("ctc:quartznet",),
        ("audio_manifest:clips.jsonl", "spoken_digits_synthetic"),
        "audio",
        tolerance=0.02,
    ),
    "audio_classification": Offer(
        ("audio_classifier:quartznet",),
        ("audio_manifest:clips.jsonl", "spoken_digits_synthetic"),
        "audio",
        tolerance=0.02,
    ),
    "voice_activity": Offer(
        ("audio_frames:quartznet",),
        ("audio_manifest:clips.jsonl", "voice_activity_synthetic"),
        "audio",
        tolerance=0.02,
    ),
    "speech_seq2seq": Offer(
        ("hf:my_whisper",),
        ("audio_manifest:clips.jsonl",),
        "audio",
        tolerance=0.02,
    ),
    "outputs": Offer(
        ("onnx:model.onnx",),
        ("images:photos", "npz:inputs.npz", "random:model.onnx"),
        "file",
    ),
}
"""By the name of the task, in the order of the question."""
WANTED: Mapping[str, str] = {
    "classification": "photos/train/CLASS/*.jpg and photos/val/CLASS/*.jpg",
    "multilabel": "tags/train.npz, validation.npz and test.npz with `image` (N, 3, H, W) and `target` (N, K) of 0 or 1",
    "regression": "people/train.npz, validation.npz and test.npz with `image` (N, 3, H, W) and `target` (N, V)",
    "segmentation": "streets/images, streets/masks and streets/classes.txt",
    "detection": "a file of COCO, or a folder of Pascal VOC or YOLO",
    "inspection": "a folder `good` and one for each kind of defect",
    "anomaly": "folders `good` and `defect`; training reads `good` alone",
    "text_classification": "a table with the columns `text` and `target`",
    "token_classification": "a table with the columns `text`, words, and `target`, their tags",
    "question_answering": "a table with the columns `text`, `second` and `target`",
    "embedding": "a table with the columns `text`, `second` and `target`, a score",
    "image_text": "a table with the columns `image`, a path, and `caption`",
    "image_to_text": "a table with the columns `image`, a path, and `text`, what the line says",
    "visual_language": "a table with the columns `image`, a path, `question` and `answer`",
    "masked_language_model": "texts, one in each line",
    "causal_language_model": "texts, one in each line",
    "sequence_to_sequence": "a table with the columns `text` and `target`, both texts",
    "speech_ctc": "a table with the columns `audio`, files, and `text`, what is said in each",
    "audio_classification": "a table with the columns `audio`, files, and `label`, the class of each",
    "voice_activity": "a table with the columns `audio`, files, and `speech`, from and to which second somebody speaks",
    "speech_seq2seq": "a table with the columns `audio`, files, and `text`, what is said in each",
    "outputs": "a folder of images or an .npz of named arrays; no labels",
}
"""What the data of a task have, for the question and the head of the recipe."""
