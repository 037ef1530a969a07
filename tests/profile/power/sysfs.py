"""Files as the kernel shows them."""

from pathlib import Path


def write(path: Path, text: object) -> Path:
    """Write one value, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")
    return path
