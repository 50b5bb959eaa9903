"""Folders of random weights in this project's layout and in the published one, at small sizes."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file

from flashtalk.engine import Architecture, FlashTalkPipeline, Sampling, random_pipeline
from flashtalk.engine.sampling import save_sampling
from flashtalk.models.checkpoint import save_config
from flashtalk.models.clip import ClipConfig
from flashtalk.models.dit import DiTConfig
from flashtalk.models.umt5 import TextConfig, train_tokenizer
from flashtalk.models.vae import VAEConfig
from flashtalk.models.wav2vec2 import AudioConfig
from tests import seeds
from tests.fakes.published import SENTENCES, write_published

# 32x32 pixels, one layer each: a chunk takes a few hundredths of a second.
MICRO = Architecture(
    dit=DiTConfig(
        dim=32,
        ffn_dim=32,
        num_heads=2,
        num_layers=2,
        freq_dim=32,
        text_len=16,
        text_dim=16,
        intermediate_dim=16,
        output_dim=16,
        context_tokens=2,
        audio_blocks=1,
        audio_channels=16,
        clip_dim=16,
        clip_tokens=5,
    ),
    vae=VAEConfig(
        dim=16,
        dim_mult=(1,),
        num_res_blocks=1,
        decoder_res_blocks=1,
        spatial_down=(),
        temporal_down=(),
        patch_size=8,
        patch_frames=4,
        linear_bypass=True,
    ),
    audio=AudioConfig(
        conv_dim=(8,) * 7,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
    ),
    clip=ClipConfig(image_size=32, patch_size=16, width=16, layers=2, heads=2),
    text=TextConfig(vocab=300, dim=16, dim_attn=16, dim_ffn=16, heads=2, layers=1, text_len=16),
)
MICRO_SAMPLING = Sampling(steps=2, height_px=32, width_px=32, prompt="A person is talking.")


def micro_pipeline(seed: int = 0, sampling: Sampling = MICRO_SAMPLING) -> FlashTalkPipeline:
    """A pipeline of the smallest sizes."""
    return random_pipeline(MICRO, sampling=sampling, seed=seed + seeds.offset())


def write_own(pipeline: FlashTalkPipeline, folder: Path) -> Path:
    """The layout of ``weights/tiny``."""
    denoiser, encoders = pipeline.denoiser, pipeline.encoders
    models = {
        "dit": denoiser.network,
        "vae": pipeline.codec.vae,
        "wav2vec2": pipeline.audio.model,
        "clip": encoders.clip,
        "umt5": encoders.text,
    }
    for name, model in models.items():
        (folder / name).mkdir(parents=True)
        state = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
        save_file(state, folder / name / "model.safetensors")
    save_config(denoiser.network.config, folder / "dit")
    save_config(pipeline.vae.config, folder / "vae")
    save_config(pipeline.audio.model.config, folder / "wav2vec2")
    save_config(encoders.clip.config, folder / "clip")
    save_config(encoders.text.config, folder / "umt5")
    train_tokenizer(SENTENCES, 300, folder / "umt5" / "tokenizer.json")
    save_sampling(pipeline.sampling, folder)
    return folder


def write_published_layout(pipeline: FlashTalkPipeline, folder: Path) -> Path:
    """The layout of the published checkpoint."""
    denoiser, encoders = pipeline.denoiser, pipeline.encoders
    write_published(
        folder,
        dit=denoiser.network,
        vae=pipeline.vae,
        wav2vec2=pipeline.audio.model,
        clip=encoders.clip,
        umt5=encoders.text,
    )
    return folder
