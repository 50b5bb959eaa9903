"""Sessions outside of streams: creation, lookup, cuts, deletion, and their public form."""
