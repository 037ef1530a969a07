"""Sources of images with captions: a table of files, and drawn scenes."""
