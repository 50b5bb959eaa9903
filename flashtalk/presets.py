"""Names of presets and precisions, for whoever has to check one before torch is loaded."""

TINY, PUBLISHED = "tiny", "flashtalk-14b"
PRESETS = (TINY, PUBLISHED)
PRECISIONS = ("float32", "bfloat16", "float8")
