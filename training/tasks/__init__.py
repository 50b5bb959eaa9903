"""The tasks of the recipes: models, losses, evaluation, export."""
