"""Speech to features: the first stage of a chunk, for many sessions at once."""
