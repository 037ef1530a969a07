"""Tasks of networks that take images and texts: vectors of both in one space."""
