"""Names of presets and precisions, for checks without importing torch."""

TINY, PUBLISHED = "tiny", "flashtalk-14b"
FLASHHEAD, FLASHHEAD_LITE = "flashhead-1.3b", "flashhead-1.3b-lite"
PRESETS = (TINY, PUBLISHED)
WITHOUT_PROMPT = (FLASHHEAD, FLASHHEAD_LITE)
"""Presets whose only conditions are the portrait and the speech."""
PRECISIONS = ("float32", "bfloat16", "float8")
