"""The text encoder; see model.py and text.py."""

from flashtalk.models.umt5.config import TextConfig
from flashtalk.models.umt5.model import TextEncoder
from flashtalk.models.umt5.text import Tokenizer, clean_text, load_tokenizer, train_tokenizer

__all__ = [
    "TextConfig",
    "TextEncoder",
    "Tokenizer",
    "clean_text",
    "load_tokenizer",
    "train_tokenizer",
]
