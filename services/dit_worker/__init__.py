"""The middle stage of a chunk: features and motion to latents, on one device or several."""
