"""Schedule, samplers, noise, conditioning and colour correction: pure functions of values."""
