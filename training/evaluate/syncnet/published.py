"""The published SyncNet: its architecture, its weight file, and its faces.

Layer sizes are those of ``SyncNetModel.S`` of joonson/syncnet_python, whose ``syncnet_v2.model``
loads here without change; names follow the file.  The judge repeats the arithmetic of that
repository's ``SyncNetInstance.evaluate``: BGR faces of 224 x 224 with values 0..255, windows that
start at every frame but the last five, zero vectors beyond the ends.

Legend: B windows, T frames, C colours, N samples at 16 kHz, D 1024 embedding numbers, S 224.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flashtalk.arrays import FloatArray, Frames, Pcm
from flashtalk.errors import WeightsError
from training.data.synthtalk.geometry import FACE_HALF_HEIGHT, FACE_Y, Layout
from training.evaluate.canvas import to_canvas
from training.evaluate.probes import HEAD, Probes
from training.evaluate.syncnet.definition import SyncScore, sync_score
from training.evaluate.syncnet.mfcc import FRAME_SAMPLES, mfcc, windows
from training.evaluate.syncnet.small import PICTURES

FACE_PX = 224
# Room beside, above and below the detected face, in halves of the box (``run_pipeline.py``).
_CROP_SCALE = 0.4
_PADDING_GREY = 110.0
_BATCH = 20

FaceCropper = Callable[[Frames], Frames]


class PublishedSyncNet(nn.Module):
    """``netcnnaud``/``netfcaud`` embed speech, ``netcnnlip``/``netfclip`` pictures, [B, 1024]."""

    def __init__(self, embedding: int = 1024) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_heard(1, 64),
            nn.MaxPool2d((1, 1), (1, 1)),
            *_heard(64, 192),
            nn.MaxPool2d((3, 3), (1, 2)),
            *_heard(192, 384),
            *_heard(384, 256),
            *_heard(256, 256),
            nn.MaxPool2d((3, 3), (2, 2)),
            *_heard(256, 512, kernel=(5, 4), padding=(0, 0)),
        )
        self.netfcaud = _embedded(embedding)
        self.netfclip = _embedded(embedding)
        self.netcnnlip = nn.Sequential(
            *_seen(3, 96, (5, 7, 7), stride=2),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_seen(96, 256, (1, 5, 5), stride=2, padding=1),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), padding=(0, 1, 1)),
            *_seen(256, 256, (1, 3, 3), padding=1),
            *_seen(256, 256, (1, 3, 3), padding=1),
            *_seen(256, 256, (1, 3, 3), padding=1),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_seen(256, 512, (1, 6, 6)),
        )

    def embed_speech(self, cepstra_BCW: Tensor) -> Tensor:
        """Embeds cepstra [B, 13, 20] as [B, 1024]."""
        embedded_BD: Tensor = self.netfcaud(self.netcnnaud(cepstra_BCW[:, None]).flatten(1))
        return embedded_BD

    def embed_pictures(self, faces_BCTSS: Tensor) -> Tensor:
        """Embeds BGR faces [B, 3, 5, 224, 224], 0..255, as [B, 1024]."""
        embedded_BD: Tensor = self.netfclip(self.netcnnlip(faces_BCTSS).flatten(1))
        return embedded_BD


def _heard(
    before: int, after: int, *, kernel: tuple[int, int] = (3, 3), padding: tuple[int, int] = (1, 1)
) -> list[nn.Module]:
    return [nn.Conv2d(before, after, kernel, padding=padding), nn.BatchNorm2d(after), nn.ReLU()]


def _seen(
    before: int, after: int, kernel: tuple[int, int, int], *, stride: int = 1, padding: int = 0
) -> list[nn.Module]:
    convolution = nn.Conv3d(
        before, after, kernel, stride=(1, stride, stride), padding=(0, padding, padding)
    )
    return [convolution, nn.BatchNorm3d(after), nn.ReLU()]


def _embedded(embedding: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, embedding)
    )


@dataclass(frozen=True)
class PublishedSyncJudge:
    """The published network and its face cropper."""

    net: PublishedSyncNet
    cropper: FaceCropper
    device: torch.device

    @property
    def is_published(self) -> bool:
        """True: the numbers are Sync-C and Sync-D as in the literature."""
        return True

    @torch.inference_mode()
    def score(
        self,
        video_THWC: Frames,
        pcm_N: Pcm,
        head_T4: FloatArray | None = None,
    ) -> SyncScore:
        """Scores a video; memory is bounded by the faces of ``_BATCH`` windows."""
        frames = min(len(video_THWC), len(pcm_N) // FRAME_SAMPLES)
        count = frames - PICTURES
        speech_BCW = torch.from_numpy(windows(mfcc(pcm_N), count))
        video, audio = [], []
        for start in range(0, count, _BATCH):
            stop = min(start + _BATCH, count)
            faces_TSSC = self.cropper(video_THWC[start : stop + PICTURES - 1])
            bgr_TCSS = torch.from_numpy(faces_TSSC[..., ::-1].copy()).permute(0, 3, 1, 2).float()
            stacks_BCTSS = bgr_TCSS.unfold(0, PICTURES, 1).permute(0, 1, 4, 2, 3)
            video.append(self.net.embed_pictures(stacks_BCTSS.to(self.device)).cpu())
            audio.append(self.net.embed_speech(speech_BCW[start:stop].to(self.device)).cpu())
        return sync_score(torch.cat(video), torch.cat(audio), zero_padded=True)


@dataclass(frozen=True)
class ProbedFace:
    """Crops faces as the published pipeline, but at the head pose from SynthTalk's pose probe.

    That pipeline has its own face detector; for filmed video pass a cropper with one.
    """

    probes: Probes

    @torch.inference_mode()
    def __call__(self, video_THWC: Frames) -> Frames:
        """Video [T, H, W, 3] -> faces uint8 [T, 224, 224, 3]."""
        pose_T4 = self.probes.pose(to_canvas(video_THWC))[:, : len(HEAD)]
        height, width = video_THWC.shape[1:3]
        layout = Layout(height, width)
        half_T = FACE_HALF_HEIGHT * pose_T4[:, 3] * layout.unit_px
        x_T = width / 2 + pose_T4[:, 0] * layout.unit_px
        y_T = layout.top_px + (FACE_Y + pose_T4[:, 1]) * layout.unit_px
        # From one half above the middle to 1.8 below it; 1.4 to either side.
        side_T = half_T * (1 + _CROP_SCALE)
        middle_T = y_T + half_T * _CROP_SCALE
        theta_T23 = torch.zeros(len(video_THWC), 2, 3)
        theta_T23[:, 0, 0], theta_T23[:, 1, 1] = 2 * side_T / width, 2 * side_T / height
        theta_T23[:, 0, 2] = 2 * x_T / width - 1
        theta_T23[:, 1, 2] = 2 * middle_T / height - 1
        frames_TCHW = torch.from_numpy(video_THWC.copy()).permute(0, 3, 1, 2).float()
        size = [len(video_THWC), 3, FACE_PX, FACE_PX]
        grid_TSS2 = F.affine_grid(theta_T23, size, align_corners=False)
        # Grey beyond the frame, as there: subtracted first, since the sampler pads with zeros.
        faces_TCSS = F.grid_sample(frames_TCHW - _PADDING_GREY, grid_TSS2, align_corners=False)
        pixels_TCSS = (faces_TCSS + _PADDING_GREY).round().clamp(0, 255).to(torch.uint8)
        faces: Frames = pixels_TCSS.permute(0, 2, 3, 1).numpy()
        return faces


def load_published(path: Path) -> PublishedSyncNet:
    """Loads the network with ``syncnet_v2.model``, a state dict in torch's format.

    Raises:
        WeightsError: the file is missing, contains more than tensors, or its names or shapes are
            not exactly the architecture's.
    """
    if not path.is_file():
        raise WeightsError(f"no SyncNet weights at {path}")
    net = PublishedSyncNet()
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        net.load_state_dict(stored, strict=True)
    except (RuntimeError, pickle.UnpicklingError, TypeError, AttributeError, EOFError) as error:
        raise WeightsError(f"{path}: {error}") from error
    return net.eval().requires_grad_(False)


def open_published(
    path: Path, probes: Probes, *, device: str = "cpu", cropper: FaceCropper | None = None
) -> PublishedSyncJudge:
    """Returns a judge for SynthTalk video, or for any other with its own ``cropper``."""
    place = torch.device(device)
    return PublishedSyncJudge(load_published(path).to(place), cropper or ProbedFace(probes), place)
