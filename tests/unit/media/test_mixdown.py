"""Channels as one: any number is their mean, and where they cancel the loudest is heard."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from flashtalk.arrays import Pcm
from flashtalk.media import read_pcm
from flashtalk.media.mixdown import Mixdown
from tests.fakes.wav_chunks import FLOAT, chunk, fmt, sixteen_bits, wav_file

PCM_HZ = 16_000
BLOCK, RAMP = PCM_HZ // 10, PCM_HZ // 100


def voice(seed: int, seconds: float = 1.5) -> Pcm:
    """Harmonics of a wavering pitch, in syllables."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * PCM_HZ)) / PCM_HZ
    pitch_hz = rng.uniform(90, 230) * (1 + 0.05 * np.sin(2 * np.pi * rng.uniform(1, 4) * time_s))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / PCM_HZ
    sound = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 20))
    return np.asarray(0.15 * sound * np.sin(np.pi * 3 * time_s) ** 2, np.float32)


def mixed(channels_CS: Pcm, pcm_hz: int = PCM_HZ, piece: int = 1_000) -> Pcm:
    mixdown = Mixdown(len(channels_CS), pcm_hz)
    pieces: list[Pcm] = []
    for first in range(0, channels_CS.shape[1], piece):
        pieces += mixdown.push(channels_CS[:, first : first + piece])
    return np.concatenate([*pieces, *mixdown.flush()])


def level_db(found_S: Pcm, expected_S: Pcm) -> float:
    return float(10 * np.log10(np.square(found_S).mean() / np.square(expected_S).mean()))


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8, 9, 12, 24, 25, 32, 48, 64, 100, 512])
def test_any_number_of_channels_is_heard(channels: int, tmp_path: Path) -> None:
    """Also where the header names their loudspeakers, or more of them than there are."""
    speech = voice(1, 0.2)
    sound = sixteen_bits(np.tile(speech, (channels, 1)))
    plain, guid = fmt(channels=channels), bytes.fromhex("0100000000001000800000aa00389b71")
    for mask in (None, 0, 0x3F, 0xFFFF_FFFF):
        extended = struct.pack("<H", 0xFFFE) + plain[10:] + struct.pack("<HHI", 22, 16, mask or 0)
        kind = plain if mask is None else chunk(b"fmt ", extended + guid)
        (tmp_path / "a.wav").write_bytes(wav_file(sound, kind=kind))
        assert np.abs(read_pcm(tmp_path / "a.wav") - speech).max() < 1e-4


@pytest.mark.parametrize("seed", range(20))
def test_channels_that_differ_are_their_mean(seed: int) -> None:
    channels_CS = np.stack([voice(100 * seed + number) for number in range(2 + seed % 4)])
    assert np.abs(mixed(channels_CS) - channels_CS.mean(axis=0)).max() < 1e-6


@pytest.mark.parametrize("seed", range(20))
def test_of_microphones_in_a_room_no_voice_is_lost(seed: int) -> None:
    rng = np.random.default_rng(seed)
    decay = 0.3 * np.exp(-np.arange(1_600) / 300)
    rooms = []
    for _ in range(2):
        response = rng.normal(0, 1, 1_600) * decay
        response[rng.integers(0, 30)] += 1
        rooms.append(np.convolve(voice(seed), response)[: len(decay) * 15])
    channels_CS = np.stack(rooms).astype(np.float32)
    loudest = max(channels_CS, key=lambda channel_S: float(np.square(channel_S).sum()))
    # The mean of two that have nothing in common is 3 dB below the louder one if both are as
    # loud, 6 dB if one is silent; what is let pass as no cancelling takes another 5 dB.
    assert -11 < level_db(mixed(channels_CS), loudest) <= 0.1


@pytest.mark.parametrize("share", [1.0, 0.99, 0.97, 0.9, 0.7, 0.5])
@pytest.mark.parametrize("loudest", [0, 1])
def test_out_of_phase_the_louder_one_is_heard(share: float, loudest: int) -> None:
    speech = voice(2)
    channels_CS = np.stack([speech, -share * speech])
    found = mixed(channels_CS if loudest == 0 else channels_CS[::-1])
    # Of two equal ones either may be; where they cancel but half, it takes a second look.
    sign = np.sign(found @ speech) if share == 1 else 1
    first = BLOCK if share == 0.5 else 0
    assert np.abs(sign * found - speech)[first + RAMP :].max() < 1e-6
    assert first or np.abs(sign * found - speech).max() < 1e-6


@pytest.mark.parametrize("channels", [4, 5, 8, 9, 24, 64])
def test_any_number_may_cancel(channels: int) -> None:
    speech = voice(3)
    signs = np.where(np.arange(channels) % 2, -1, 1)[:, None]
    assert abs(level_db(mixed((signs * speech).astype(np.float32)), speech)) < 0.3
    pair_CS = np.zeros((channels, len(speech)), np.float32)
    pair_CS[0], pair_CS[1] = speech, -speech
    assert abs(level_db(mixed(pair_CS), speech)) < 0.1


def test_one_voice_among_many_silent_channels_is_not_lost() -> None:
    speech = voice(4)
    channels_CS = np.zeros((64, len(speech)), np.float32)
    channels_CS[17] = speech
    assert abs(level_db(mixed(channels_CS), speech)) < 0.1


def test_noise_in_the_pauses_changes_nothing() -> None:
    speech = voice(5)
    noise_CS = np.random.default_rng(0).normal(0, 0.001, (2, len(speech))).astype(np.float32)
    found = mixed(noise_CS + np.stack([speech, -speech]))
    assert abs(level_db(found, speech)) < 0.2


@pytest.mark.parametrize("turned", [0, 1])
def test_a_change_loses_little_and_does_not_click(turned: int) -> None:
    speech = voice(6)
    half = PCM_HZ * 2 // 3  # between two syllables: a change in a sound is itself a click
    sign = np.where((np.arange(len(speech)) < half) == bool(turned), -1, 1)
    found = mixed(np.stack([speech, sign * speech]).astype(np.float32))
    assert abs(level_db(found, speech)) < 0.5
    assert np.abs(np.diff(found)).max() < 1.5 * np.abs(np.diff(speech)).max()


def test_pieces_of_any_size_give_the_same() -> None:
    speech = voice(7)
    channels_CS = np.stack([speech, -0.97 * speech, voice(8)])
    whole = mixed(channels_CS, piece=len(speech))
    assert len(whole) == len(speech)
    for piece in (1, 160, BLOCK - 1, BLOCK, 5_000):
        found = mixed(channels_CS[:, : 2 * BLOCK + 7], piece=piece)
        assert len(found) == 2 * BLOCK + 7
        # What follows less than a block is judged by what there is.
        assert np.abs((found - whole[: len(found)])[: 2 * BLOCK]).max() < 1e-5


@pytest.mark.parametrize(
    ("bits", "tag", "dtype", "scale"),
    [(32, 1, "<i4", 2**31), (32, FLOAT, "<f4", 1), (64, FLOAT, "<f8", 1)],
)
def test_samples_of_any_type_have_the_same_level(
    bits: int, tag: int, dtype: str, scale: float, tmp_path: Path
) -> None:
    speech = voice(9, 0.5)
    sound = np.tile(speech.astype(np.float64) * scale, (2, 1)).T.astype(dtype).tobytes()
    path = tmp_path / "a.wav"
    path.write_bytes(wav_file(sound, kind=fmt(channels=2, bits=bits, tag=tag)))
    assert np.abs(read_pcm(path) - speech).max() < 1e-6
