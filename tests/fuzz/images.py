"""Image files: every format that Pillow writes, changed; files that unpack to far more; files that are none."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from compress.data.factory import data_fingerprint, load_data
from compress.data.settings import DataSettings
from compress.verify.image_inputs import read_images
from tests.fuzz.harness import Case

FORMATS = (
    ("a.png", "PNG", "RGB"), ("p.png", "PNG", "P"), ("i16.png", "PNG", "I;16"), ("la.png", "PNG", "LA"), ("one.png", "PNG",
    "1"),
    ("a.jpg", "JPEG", "RGB"), ("cmyk.jpg", "JPEG", "CMYK"), ("a.webp", "WEBP", "RGB"), ("rgba.webp", "WEBP", "RGBA"),
    ("a.bmp", "BMP", "RGB"), ("p.bmp", "BMP", "P"), ("a.tif", "TIFF", "RGB"), ("f.tif", "TIFF", "F"), ("one.tif", "TIFF",
    "1"),
    ("gif.png", "GIF", "P"), ("a.ppm", "PPM", "RGB"), ("a.pgm", "PPM", "L"), ("ico.png", "ICO", "RGB"), ("sgi.png", "SGI",
    "RGB"),
    ("pcx.bmp", "PCX", "RGB"), ("tga.bmp", "TGA", "RGB"), ("dds.png", "DDS", "RGB"), ("eps.png", "EPS", "RGB"), ("im.png",
    "IM", "RGB"),
    ("msp.png", "MSP", "1"), ("spider.png", "SPIDER", "F"), ("pdf.png", "PDF", "RGB"), ("xbm.png", "XBM", "1"),
    ("jp2.png", "JPEG2000", "RGB"), ("avif.png", "AVIF", "RGB"),
)  # fmt: skip
METADATA = ("[", "{}", "null", "3", '"a"', "[1]", "[1, 2]", "[[]]", "[1e400, 0, 0]", "[null, 0, 0]", "")


def cases(rng: random.Random, count: int, work: Path) -> Iterator[Case]:
    """Three of four are read alone, as `compress verify --images` does; the others in a small folder, as a data source."""
    folder, read_folder = work / "photos", Case("folder", partial(_read_folder, work))
    sound = {name: content for name, kind, mode in FORMATS if (content := _encode(kind, mode)) is not None}
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for index in range(6):
            (folder / label / f"{index}.png").write_bytes(sound["a.png"])
    special = [(name, content) for name, content in _special().items()][: count // 8]
    for name, content in special:
        path = folder / "cat" / f"z_{name}"
        path.write_bytes(content)
        yield Case("special file", read_folder.call)
        path.unlink()
    odd = list(_not_files(folder, sound["a.png"]))[: count // 8]
    for make, undo in odd:
        make()
        yield Case("not a file", read_folder.call)
        undo()
    for _ in range(count - len(special) - len(odd)):
        name, content = _changed(sound, rng)
        alone = rng.random() < 0.75
        path = (work if alone else folder / "cat") / f"z_{name}"
        path.write_bytes(content)
        metadata = _metadata(rng)
        yield Case("alone", partial(read_images, [path], (3, 8, 8), 5, metadata)) if alone else read_folder
        path.unlink()


def _read_folder(work: Path) -> None:
    settings = DataSettings(source="imagefolder:photos", image_size=16)
    data_fingerprint(settings, work)
    data = load_data(settings, base=work)
    for split in (data.train, data.validation, data.test):
        for _ in split.ordered(32):
            pass


def _metadata(rng: random.Random) -> dict[str, str]:
    """What an ONNX file says of its input: nothing, the truth, or something odd."""
    if rng.random() < 0.6:
        return {}
    metadata = {"compress": "1", "mean": json.dumps([0.5] * 3), "std": json.dumps([0.2] * 3), "resize": '"squash"'}
    for key in ("mean", "std", "resize"):
        if rng.random() < 0.2:
            metadata[key] = rng.choice(METADATA)
    if rng.random() < 0.1:
        del metadata[rng.choice(["mean", "std", "resize"])]
    return metadata


def _changed(sound: dict[str, bytes], rng: random.Random) -> tuple[str, bytes]:
    name = rng.choice(list(sound))
    content, chance = bytearray(sound[name]), rng.random()
    if chance < 0.6:
        for _ in range(rng.choice([1, 1, 2, 4, 10])):
            content[rng.randrange(min(len(content), 200) if rng.random() < 0.6 else len(content))] ^= 1 << rng.randrange(8)
    elif chance < 0.75:
        del content[rng.randrange(len(content)) :]
    elif chance < 0.9:
        position = rng.randrange(min(len(content), 300))
        content[position : position + rng.randint(1, 8)] = rng.choice(
            [b"\xff" * 8, b"\0" * 8, b"\x7f\xff\xff\xff", rng.randbytes(6)]
        )
    else:
        name = Path(name).stem + rng.choice([".png", ".jpg", ".tif", ".webp", ".bmp", ".ppm", ".JPEG", ".pgm"])
    return name, bytes(content)


def _encode(kind: str, mode: str) -> bytes | None:
    """A picture of 24 × 20 pixels; None where this Pillow cannot write the format."""
    pixels = np.random.default_rng(1).integers(0, 255, (20, 24, 3), dtype=np.uint8)
    if mode in ("I;16", "F"):
        picture = Image.fromarray(pixels[..., 0].astype(np.uint16 if mode == "I;16" else np.float32))
    else:
        picture = Image.fromarray(pixels).convert(mode)
    content = io.BytesIO()
    with suppress(OSError, KeyError, ValueError):
        picture.save(content, kind)
        return content.getvalue()
    return None


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _png(width: int, height: int, pixels: bytes, extra: bytes = b"", depth: int = 8) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + _chunk(b"IDAT", zlib.compress(pixels, 9)) + _chunk(b"IEND", b"")


def _special() -> dict[str, bytes]:
    rows, much = b"\0" * 72, zlib.compress(b"A" * 200_000_000, 1)
    return {
        "declares_50000.png": _png(50_000, 50_000, b"\0" * 1000), "declares_2g.png": _png(2**31 - 1, 2**31 - 1, b"\0" * 1000),
        "one_bit_13300.png": _png(13_300, 13_300, b"\0" * 1664 * 13_300, depth=1), "zero.png": _png(0, 0, b""),
        "itxt.png": _png(8, 8, rows, _chunk(b"iTXt", b"k\0\1\0\0\0" + much)), "iccp.png": _png(8, 8, rows, _chunk(b"iCCP",
        b"k\0\0" + much)),
        "ztxt.png": _png(8, 8, rows, _chunk(b"zTXt", b"k\0\0" + much) * 3), "empty.png": b"", "text.png": b"hello",
        "huge.bmp": (_encode("BMP", "RGB") or b"")[:18] + struct.pack("<ii", 2**30, -(2**30)) + (_encode("BMP",
        "RGB") or b"")[26:],
        "huge.ppm": b"P6 999999999 999999999 255\n", "deep.ppm": b"P6 9 9 99999999999\n" + b"x" * 300,
        "negative.ppm": b"P6 -5 -5 255\n" + b"x" * 300, "1x1.png": _png(1, 1, b"\0\0"), "strip.png": _png(1, 60_000,
        b"\0\0" * 60_000),
        "wide.png": _png(60_000, 1, b"\0" * 60_001),
    }  # fmt: skip


def _not_files(folder: Path, content: bytes) -> Iterator[tuple[Callable[[], object], Callable[[], object]]]:
    """Pairs of what makes an entry of the folder and what removes it."""
    entry = folder / "cat" / "zz.png"
    yield lambda: os.mkfifo(entry), entry.unlink
    yield entry.mkdir, entry.rmdir
    for target in ("/nowhere/x.png", "zz.png", "..", ".", "/dev/zero", "/dev/random", "/dev/tty"):
        yield lambda target=target: entry.symlink_to(target), entry.unlink
    bad_name = Path(os.fsdecode(os.fsencode(folder / "cat") + b"/\xff\xfe.png"))
    yield lambda: bad_name.write_bytes(content), bad_name.unlink
    bad_class = Path(os.fsdecode(os.fsencode(folder) + b"/\xff"))
    yield lambda: shutil.copytree(folder / "dog", bad_class), lambda: shutil.rmtree(bad_class)
    secret = folder / "dog" / "zz.png"
    yield lambda: secret.write_bytes(content) and secret.chmod(0), secret.unlink
