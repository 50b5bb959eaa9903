"""Reads audio and pictures, writes video (PyAV, Pillow)."""

from flashtalk.media.audio import AudioFacts, inspect_audio, read_pcm, stream_pcm
from flashtalk.media.image import cover, decode_image, oriented_size, read_image
from flashtalk.media.portrait import fit_portrait, portrait_bytes
from flashtalk.media.sniff import SNIFFED_BYTES, container_of
from flashtalk.media.sources import decode_stream
from flashtalk.media.video import Mp4Writer, check_target

__all__ = [
    "SNIFFED_BYTES",
    "AudioFacts",
    "Mp4Writer",
    "check_target",
    "container_of",
    "cover",
    "decode_image",
    "decode_stream",
    "fit_portrait",
    "inspect_audio",
    "oriented_size",
    "portrait_bytes",
    "read_image",
    "read_pcm",
    "stream_pcm",
]
