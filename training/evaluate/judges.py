"""The scores of one video without a reference: sync, consistency, smoothness, quality.

Keys name the measure and always distinguish substitutes: ``sync_c`` is the published SyncNet's and
``sync_c_own`` ours, ``subject_c`` is DINO's and ``id_c`` the identity probe's
(docs/evaluation.md).

Legend: T frames, H W pixels, N samples at 16 kHz, D feature numbers.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flashtalk.arrays import BoolArray, FloatArray, Frames, Pcm, RealArray
from training.evaluate.digests import digest_of, digest_of_network, signature_of_files
from training.evaluate.extractors import (
    open_background_features,
    open_interpolator,
    open_subject_features,
)
from training.evaluate.probes import HEAD, Measurement, Probes
from training.evaluate.qalign import MISSING, QAlign, open_qalign
from training.evaluate.syncnet.judge import (
    SHORTEST_FRAMES,
    SmallSyncJudge,
    SyncJudge,
    open_sync_judge,
)
from training.evaluate.syncnet.mfcc import FRAME_SAMPLES
from training.evaluate.vbench import (
    Interpolate,
    background_pixels,
    consistency,
    linear,
    motion_smoothness,
    temporal_flickering,
)

_PER_CENT = 100.0
_FOREIGN = ("syncnet", "dino", "clip", "amt", "qalign")
_NAN = float("nan")


@dataclass(frozen=True)
class Judges:
    """The available judges; ``None`` omits a column.  Substitutes need no files.

    Args:
        sync: SyncNets: ours, and the published one if available.
        subject, background: the feature networks of VBench, video [T, H, W, 3] -> [T, D].
        between: VBench's frame interpolation.
        rater: Q-Align.
    """

    sync: tuple[SyncJudge, ...] = ()
    subject: Callable[[Frames], RealArray] | None = None
    background: Callable[[Frames], RealArray] | None = None
    between: Interpolate | None = None
    rater: QAlign | None = None

    def scores(
        self,
        video_THWC: Frames,
        pcm_N: Pcm,
        measured: Measurement,
        background_HW: BoolArray,
    ) -> dict[str, float]:
        """Returns every score of one video; NaN if the video is too short for it.

        Args:
            video_THWC: uint8, at 25 fps.
            pcm_N: its speech, from frame 0 on.
            measured: the probes' measurement of it.
            background_HW: pixels that the body never covers.
        """
        found = self._sync(video_THWC, pcm_N, measured.stack(HEAD))
        if len(video_THWC) < 3:
            return found
        found["id_c"] = _PER_CENT * consistency(measured.identity_TD)
        found["bg_pixel_c"] = _NAN
        if background_HW.any():
            pixels_TD = background_pixels(video_THWC, background_HW)
            found["bg_pixel_c"] = _PER_CENT * consistency(pixels_TD)
        found["motion_linear"] = _PER_CENT * motion_smoothness(video_THWC, linear)
        found["temporal_f"] = _PER_CENT * temporal_flickering(video_THWC)
        if self.subject is not None:
            found["subject_c"] = _PER_CENT * consistency(self.subject(video_THWC))
        if self.background is not None:
            found["bg_c"] = _PER_CENT * consistency(self.background(video_THWC))
        if self.between is not None:
            found["motion_s"] = _PER_CENT * motion_smoothness(video_THWC, self.between)
        if self.rater is not None:
            found |= self.rater.rate(video_THWC)
        return found

    def _sync(self, video_THWC: Frames, pcm_N: Pcm, head_T4: FloatArray) -> dict[str, float]:
        found: dict[str, float] = {}
        is_long_enough = min(len(video_THWC), len(pcm_N) // FRAME_SAMPLES) >= SHORTEST_FRAMES
        for judge in self.sync:
            ending = "" if judge.is_published else "_own"
            values = (_NAN, _NAN, _NAN)
            if is_long_enough:
                score = judge.score(video_THWC, pcm_N, head_T4)
                values = (score.confidence, score.distance, float(score.offset_frames))
            names = ("sync_c", "sync_d", "sync_offset")
            found |= {f"{n}{ending}": v for n, v in zip(names, values, strict=True)}
        return found

    @property
    def notes(self) -> dict[str, str]:
        """Returns notes for the report's settings: missing or substituted measures, reasons."""
        found: dict[str, str] = {}
        if not any(judge.is_published for judge in self.sync):
            found["Sync-C, Sync-D"] = (
                "of our small SyncNet, on its own scale (--syncnet: published)"
            )
        if self.subject is None:
            found["Subject-C"] = "not measured (--dino); ID-C is the identity probe's"
        if self.background is None:
            found["BG-C"] = "not measured (--clip); BG-pixel is the background's own pixels'"
        if self.between is None:
            found["Motion-S"] = "not measured (--amt); Motion-lin interpolates linearly"
        if self.rater is None:
            found["ASE, IQA"] = MISSING
        return found


def digest_of_judges(arguments: argparse.Namespace, judges: Judges) -> str:
    """Returns a digest of the networks: of our numbers, of the files of others."""
    own = [digest_of_network(one.net) for one in judges.sync if isinstance(one, SmallSyncJudge)]
    foreign = {name: signature_of_files(getattr(arguments, name)) for name in _FOREIGN}
    return digest_of({"own": own, "foreign": foreign})


def add_judge_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``open_judges``."""
    group = parser.add_argument_group("full-scale judges", "each option adds columns to the tables")
    group.add_argument(
        "--syncnet",
        type=Path,
        metavar="FILE",
        help="file of the published SyncNet, syncnet_v2.model",
    )
    group.add_argument(
        "--dino", type=Path, metavar="DIR", help="folder of DINO ViT-B/16, for Subject-C"
    )
    group.add_argument("--clip", type=Path, metavar="DIR", help="folder of CLIP ViT-B/32, for BG-C")
    group.add_argument(
        "--amt", type=Path, metavar="FILE", help="file of AMT-S (.pt2), for Motion-S"
    )
    group.add_argument(
        "--qalign",
        type=Path,
        metavar="DIR",
        help="folder of Q-Align, for ASE and IQA; executes the code in this folder",
    )


def open_judges(arguments: argparse.Namespace, probes: Probes) -> Judges:
    """Returns the judges that the command line selects; ours are always available.

    Raises:
        WeightsError: a given file or folder is missing or does not fit.
    """
    device = arguments.device
    sync = [open_sync_judge(probes, None)]
    if arguments.syncnet is not None:
        sync.append(open_sync_judge(probes, arguments.syncnet, device=device))
    return Judges(
        sync=tuple(sync),
        subject=arguments.dino and open_subject_features(arguments.dino, device=device),
        background=arguments.clip and open_background_features(arguments.clip, device=device),
        between=arguments.amt and open_interpolator(arguments.amt, device=device),
        rater=arguments.qalign and open_qalign(arguments.qalign, device=device),
    )
