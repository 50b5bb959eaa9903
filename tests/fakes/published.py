"""Writes a checkpoint folder as the published one is laid out, at any size."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from flashtalk.models.checkpoint import save_config
from flashtalk.models.checkpoint.layout import CLIP_FILE, TEXT_FILE, TOKENIZER_FOLDERS, VAE_FILE
from flashtalk.models.clip import ClipVision
from flashtalk.models.clip import weights as clip_weights
from flashtalk.models.dit import DiT
from flashtalk.models.dit import weights as dit_weights
from flashtalk.models.umt5 import TextEncoder, train_tokenizer
from flashtalk.models.umt5 import weights as umt5_weights
from flashtalk.models.vae import VideoVAE
from flashtalk.models.wav2vec2 import AudioConfig, Wav2Vec2Features
from flashtalk.models.wav2vec2 import weights as audio_weights
from tests.fakes.transformers_models import wav2vec2_config

SENTENCES = ("A person is talking.", "A woman talks to the camera.")


def write_published(
    folder: Path,
    *,
    dit: DiT,
    vae: VideoVAE,
    wav2vec2: Wav2Vec2Features,
    clip: ClipVision,
    umt5: TextEncoder,
    shards: int = 2,
) -> None:
    """Every file that ``find_checkpoint`` looks for, with tensors that are there but unused."""
    folder.mkdir(parents=True, exist_ok=True)
    save_config(dit.config, folder)
    write_shards(dit.state_dict(), folder, dit_weights.WEIGHTS_STEM, shards)
    torch.save(vae.state_dict(), folder / VAE_FILE)
    image = clip_weights.to_published(clip.state_dict())
    width = clip.config.width
    image |= {
        "log_scale": torch.zeros(()),
        "textual.norm.weight": torch.ones(4),
        "visual.head": torch.zeros(width, 4),
        "visual.post_norm.weight": torch.ones(width),
        "visual.post_norm.bias": torch.zeros(width),
    }
    torch.save(image, folder / CLIP_FILE)
    torch.save(umt5_weights.to_published(umt5.state_dict()), folder / TEXT_FILE)
    words = folder / TOKENIZER_FOLDERS[0]
    words.mkdir(parents=True)
    train_tokenizer(SENTENCES, 300, words / "tokenizer.json")
    write_published_audio(folder / audio_weights.PUBLISHED_FOLDER, wav2vec2)


def write_published_audio(folder: Path, model: Wav2Vec2Features) -> None:
    """A speech encoder as a pre-training checkpoint of transformers."""
    folder.mkdir(parents=True)
    config: AudioConfig = model.config
    values = wav2vec2_config(config).to_dict() | {"hidden_dropout": 0.1, "layerdrop": 0.05}
    (folder / "config.json").write_text(json.dumps(values))
    state = audio_weights.to_published(model.state_dict())
    state |= {
        "wav2vec2.masked_spec_embed": torch.zeros(config.hidden_size),
        "quantizer.codevectors": torch.zeros(1, 6, 4),
        "project_q.weight": torch.zeros(4, 4),
    }
    torch.save(state, folder / audio_weights.PUBLISHED_FILES[1])


def write_shards(state: dict[str, Tensor], folder: Path, stem: str, shards: int) -> None:
    """Safetensors shards with an index, the names dealt out in turn."""
    names = list(state)
    homes = {
        n: f"{stem}-{1 + i % shards:05}-of-{shards:05}.safetensors" for i, n in enumerate(names)
    }
    for home in sorted(set(homes.values())):
        save_file({n: state[n].contiguous() for n in names if homes[n] == home}, folder / home)
    index = {"metadata": {}, "weight_map": homes}
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index))
