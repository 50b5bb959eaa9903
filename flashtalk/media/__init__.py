"""Reading audio and images, writing MP4 (PyAV and Pillow, no torch)."""
