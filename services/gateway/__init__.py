"""Sessions, the chunk clock, admission, routing and replay; no torch."""
