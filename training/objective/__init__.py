"""Losses of training, and the networks' predictions that they compare."""
