"""Search: trials of a recipe with other values, on one or many machines, and the choice among them."""
