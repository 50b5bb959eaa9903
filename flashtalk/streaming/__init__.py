"""The stream contract: chunk geometry, the audio ring, windows and the clock (numpy only)."""
