"""Sources of images with a mask each: folders of files, and drawn scenes."""
