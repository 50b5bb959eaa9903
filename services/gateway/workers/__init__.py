"""The workers that a gateway calls: who is there, who is ready, and one chunk through all three."""
