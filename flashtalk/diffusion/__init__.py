"""Schedule, sampler, noise and colour correction: pure functions of values."""
