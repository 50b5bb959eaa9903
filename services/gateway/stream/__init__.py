"""One open stream: its input, its chunks and its output."""
