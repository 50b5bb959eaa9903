"""API keys of the public side: the file that lists them, and who comes in with one."""
