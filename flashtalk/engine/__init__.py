"""The chunk loop without any network."""
