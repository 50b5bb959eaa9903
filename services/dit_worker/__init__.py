"""Features and motion to latents: the middle stage of a chunk, on one device or many."""
