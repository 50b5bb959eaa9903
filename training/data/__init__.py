"""Training data: SynthTalk, recorded videos, their caches, and the batches made of them."""
