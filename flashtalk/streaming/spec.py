"""The numbers of a stream in one place (report section 2)."""

from dataclasses import dataclass

from flashtalk.errors import InputError
from flashtalk.presets import FLASHHEAD, FLASHHEAD_LITE, PUBLISHED, TINY

FPS = 25
PCM_HZ = 16_000
"""Frames per second of every preset, and of the data of the speech and lip models."""


@dataclass(frozen=True)
class StreamSpec:
    """Geometry of one chunk of video and of the speech that drives it.

    The defaults are the report's: 33 frames at 25 fps, of which the first 5 repeat the end of
    the previous chunk, and 16 kHz mono audio of which one frame shows 640 samples. Loaded weights
    have their own spec; ``preset_spec`` is for code without weights.

    Args:
        fps: video frames per second.
        chunk_frames: frames that the network generates together.
        motion_frames: number of them that repeat the end of the previous chunk.
        pcm_hz: audio samples per second.
        window_s: seconds of sound in the speech encoder's input.
        audio_window: rows of speech features around each frame, odd.
        vae_stride_t: video frames per latent frame; the first frame of a chunk has its own.
        vae_stride_hw: pixels per latent row and column.
        patch_hw: latent rows and columns per token.
        latent_channels: of the VAE.
    """

    fps: int = FPS
    chunk_frames: int = 33
    motion_frames: int = 5
    pcm_hz: int = PCM_HZ
    window_s: int = 8
    audio_window: int = 5
    vae_stride_t: int = 4
    vae_stride_hw: int = 8
    patch_hw: int = 2
    latent_channels: int = 16

    def __post_init__(self) -> None:
        for field in ("chunk_frames", "motion_frames"):
            if (getattr(self, field) - 1) % self.vae_stride_t:
                raise InputError(field, getattr(self, field), f"must be 1 + n*{self.vae_stride_t}")
        if self.motion_frames >= self.chunk_frames:
            raise InputError("motion_frames", self.motion_frames, f"< {self.chunk_frames}")
        if self.pcm_hz % self.fps:
            raise InputError("pcm_hz", self.pcm_hz, f"must be a multiple of fps ({self.fps})")

    @property
    def new_frames(self) -> int:
        """Returns the frames that one chunk adds to the video (28)."""
        return self.chunk_frames - self.motion_frames

    @property
    def new_s(self) -> float:
        """Returns the seconds that one chunk adds to the video (1.12)."""
        return self.new_frames / self.fps

    @property
    def samples_per_frame(self) -> int:
        """Returns the audio samples of one video frame (640)."""
        return self.pcm_hz // self.fps

    @property
    def new_samples(self) -> int:
        """Returns the audio samples of one chunk (17,920)."""
        return self.new_frames * self.samples_per_frame

    @property
    def window_samples(self) -> int:
        """Returns the speech encoder's input samples (128,000, ending at the chunk's end)."""
        return self.window_s * self.pcm_hz

    @property
    def feature_rows(self) -> int:
        """Returns the rows of speech features for the windows of a chunk: those of its frames and
        just before them (35)."""
        return self.chunk_frames + self.audio_window // 2

    @property
    def latent_frames(self) -> int:
        """Returns the latent frames of one chunk (9)."""
        return 1 + (self.chunk_frames - 1) // self.vae_stride_t

    @property
    def motion_latents(self) -> int:
        """Returns the latent frames of the motion frames (2)."""
        return 1 + (self.motion_frames - 1) // self.vae_stride_t

    @property
    def token_px(self) -> int:
        """Returns the side in pixels of a token's square; sizes are multiples of it (16)."""
        return self.vae_stride_hw * self.patch_hw

    def motion_latents_for(self, chunk_index: int) -> int:
        """Returns the motion latents of chunk ``chunk_index``: the portrait alone, then 2."""
        return 1 if chunk_index == 0 else self.motion_latents

    def latent_size(self, height_px: int, width_px: int) -> tuple[int, int]:
        """Returns the latent size of a frame. Raises InputError for sizes that do not divide."""
        for field, pixels in (("height", height_px), ("width", width_px)):
            if pixels <= 0 or pixels % self.token_px:
                limit = f"must be a positive multiple of {self.token_px} pixels"
                raise InputError(field, pixels, limit)
        return height_px // self.vae_stride_hw, width_px // self.vae_stride_hw


PRESET_SPECS = {
    TINY: StreamSpec(),
    PUBLISHED: StreamSpec(),
    FLASHHEAD: StreamSpec(),
    # 24 new frames per chunk: a latent frame of the LTX VAE has 8 frames and 32x32 pixels.
    FLASHHEAD_LITE: StreamSpec(
        motion_frames=9, vae_stride_t=8, vae_stride_hw=32, patch_hw=1, latent_channels=128
    ),
}


def preset_spec(preset: str) -> StreamSpec:
    """Returns the spec of a preset, the default of its weights, for code without weights.

    Raises:
        InputError: an unknown preset.
    """
    if preset not in PRESET_SPECS:
        raise InputError("preset", preset, f"one of {', '.join(PRESET_SPECS)}")
    return PRESET_SPECS[preset]
