"""Training: recipes, data, losses, evaluation. Not part of the wheel."""
