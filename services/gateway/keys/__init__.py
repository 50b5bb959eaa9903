"""API keys of the public port: the key file, and authentication of callers."""
