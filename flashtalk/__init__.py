"""FlashTalk: a portrait and a stream of speech become a stream of talking-avatar video."""

__version__ = "0.1.0"
