"""Recorded videos: manifest, shards, decoding, the index of a scan, and the source made of them."""
