"""The training loop and its parts, independent of models and data."""
