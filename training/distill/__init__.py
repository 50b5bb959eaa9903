"""Stage 2: a guided teacher of many steps becomes a student of four."""
