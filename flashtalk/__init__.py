"""FlashTalk: generates talking-avatar video from a portrait and a stream of speech."""

__version__ = "0.1.0"
