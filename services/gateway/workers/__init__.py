"""The workers of a gateway: discovery, readiness, and the calls of a chunk to all three."""
