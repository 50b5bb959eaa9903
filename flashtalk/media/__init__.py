"""Read sound and pictures, write video (PyAV, Pillow)."""

from flashtalk.media.audio import AudioFacts, inspect_audio, read_pcm, stream_pcm
from flashtalk.media.image import cover, decode_image, oriented_size, read_image
from flashtalk.media.video import Mp4Writer, check_target

__all__ = [
    "AudioFacts",
    "Mp4Writer",
    "check_target",
    "cover",
    "decode_image",
    "inspect_audio",
    "oriented_size",
    "read_image",
    "read_pcm",
    "stream_pcm",
]
