"""Latents to pictures and back: the last stage of a chunk."""
