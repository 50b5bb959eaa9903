"""Stage 2: distils a guided teacher of many steps to a student of four."""
