"""Teachers that a recipe can name: the recipe's own, self-distillation, peers, external soft labels."""
