"""Names of presets and precisions, for checks without importing torch."""

TINY, PUBLISHED = "tiny", "flashtalk-14b"
PRESETS = (TINY, PUBLISHED)
PRECISIONS = ("float32", "bfloat16", "float8")
