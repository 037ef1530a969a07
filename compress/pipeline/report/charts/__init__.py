"""Charts as SVG with text that can be selected: axes, points, bars and lines, in colours that a page or a file defines."""
