"""The chunk loop and its three stages, without any network or process (torch)."""

from flashtalk.engine.audio import AudioEncoder
from flashtalk.engine.codec import Reference, VideoCodec
from flashtalk.engine.denoiser import Conditioning, Denoiser
from flashtalk.engine.load import PRESETS, load_pipeline
from flashtalk.engine.pipeline import Architecture, Pipeline
from flashtalk.engine.random_weights import random_pipeline
from flashtalk.engine.sampling import Sampling
from flashtalk.engine.talk import ChunkResult, Session, advance, start, talk, talk_on

__all__ = [
    "PRESETS",
    "Architecture",
    "AudioEncoder",
    "ChunkResult",
    "Conditioning",
    "Denoiser",
    "Pipeline",
    "Reference",
    "Sampling",
    "Session",
    "VideoCodec",
    "advance",
    "load_pipeline",
    "random_pipeline",
    "start",
    "talk",
    "talk_on",
]
