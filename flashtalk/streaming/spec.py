"""The numbers of the stream contract, in one place (report section 2; architecture section 2)."""

from dataclasses import dataclass

from flashtalk.errors import InputError


@dataclass(frozen=True)
class StreamSpec:
    """Geometry of one chunk of video and of the speech that drives it.

    The defaults are the report's: 33 frames at 25 fps, of which the first 5 repeat the end of
    the previous chunk, and 16 kHz mono audio of which one frame shows 640 samples.
    """

    fps: int = 25
    chunk_frames: int = 33
    motion_frames: int = 5
    pcm_hz: int = 16_000
    window_s: int = 8
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
        """Frames that one chunk adds to the video (28)."""
        return self.chunk_frames - self.motion_frames

    @property
    def samples_per_frame(self) -> int:
        """Audio samples that one video frame shows (640)."""
        return self.pcm_hz // self.fps

    @property
    def new_samples(self) -> int:
        """Audio samples that one chunk consumes (17,920)."""
        return self.new_frames * self.samples_per_frame

    @property
    def window_samples(self) -> int:
        """Audio samples the speech encoder sees (128,000, ending at the chunk's end)."""
        return self.window_s * self.pcm_hz

    @property
    def latent_frames(self) -> int:
        """Latent frames of one chunk (9)."""
        return 1 + (self.chunk_frames - 1) // self.vae_stride_t

    @property
    def motion_latents(self) -> int:
        """Latent frames of the motion frames (2)."""
        return 1 + (self.motion_frames - 1) // self.vae_stride_t

    def motion_latents_for(self, chunk_index: int) -> int:
        """Clean latents that condition chunk ``chunk_index``: the portrait alone, then 2."""
        return 1 if chunk_index == 0 else self.motion_latents

    def latent_size(self, height_px: int, width_px: int) -> tuple[int, int]:
        """Latent height and width of a frame; raises InputError on sizes that do not divide."""
        step = self.vae_stride_hw * self.patch_hw
        for field, pixels in (("height", height_px), ("width", width_px)):
            if pixels <= 0 or pixels % step:
                raise InputError(field, pixels, f"must be a positive multiple of {step} pixels")
        return height_px // self.vae_stride_hw, width_px // self.vae_stride_hw
