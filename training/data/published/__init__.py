"""Published collections of talking people: their metadata as manifests."""
