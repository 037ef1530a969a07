"""Audio data: decoding, clips with transcripts or classes, and batches of clips of different lengths."""
