"""The chunk loop and its three stages, without network or processes (torch)."""

from flashtalk.engine.audio import AudioEncoder
from flashtalk.engine.checkpoint import Checkpoint, FeatureShape, TokenShapes
from flashtalk.engine.codec import Reference, VideoCodec
from flashtalk.engine.denoiser import Conditioning, Denoiser, DiTDenoiser
from flashtalk.engine.digest_cache import DigestCache
from flashtalk.engine.encoders import ConditionEncoders, EncodedPrompt, Encoders, NoEncoders
from flashtalk.engine.flashhead_architecture import FlashHeadArchitecture
from flashtalk.engine.flashhead_checkpoint import FlashHeadCheckpoint
from flashtalk.engine.flashhead_denoiser import FlashHeadDenoiser
from flashtalk.engine.flashtalk_checkpoint import FlashTalkCheckpoint, flashtalk_checkpoint
from flashtalk.engine.host_memory import keep_freed_memory
from flashtalk.engine.load import load_pipeline, open_checkpoint
from flashtalk.engine.pipeline import Architecture, FlashTalkPipeline, Pipeline, Stages
from flashtalk.engine.random_weights import random_pipeline
from flashtalk.engine.sampling import Sampling
from flashtalk.engine.stage_clock import StageClock
from flashtalk.engine.talk import (
    ChunkResult,
    Session,
    advance,
    session_of,
    start,
    talk,
    talk_on,
)
from flashtalk.engine.weights_digest import weights_digest
from flashtalk.presets import PRESETS

__all__ = [
    "PRESETS",
    "Architecture",
    "AudioEncoder",
    "Checkpoint",
    "ChunkResult",
    "ConditionEncoders",
    "Conditioning",
    "Denoiser",
    "DiTDenoiser",
    "DigestCache",
    "EncodedPrompt",
    "Encoders",
    "FeatureShape",
    "FlashHeadArchitecture",
    "FlashHeadCheckpoint",
    "FlashHeadDenoiser",
    "FlashTalkCheckpoint",
    "FlashTalkPipeline",
    "NoEncoders",
    "Pipeline",
    "Reference",
    "Sampling",
    "Session",
    "StageClock",
    "Stages",
    "TokenShapes",
    "VideoCodec",
    "advance",
    "flashtalk_checkpoint",
    "keep_freed_memory",
    "load_pipeline",
    "open_checkpoint",
    "random_pipeline",
    "session_of",
    "start",
    "talk",
    "talk_on",
    "weights_digest",
]
