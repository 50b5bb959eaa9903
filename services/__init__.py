"""Four programs that meet on the wire, and one that starts them all on this machine."""
