"""Command line: generate, doctor, bench."""
