"""What the audio-driven video transformers have in common; ``dit`` and ``flashhead`` use it."""
