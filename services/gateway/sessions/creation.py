"""CreateSession: validates every field and converts the request."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from flashtalk.arrays import Rgb
from flashtalk.errors import InputError
from flashtalk.media.image import cover, decode_image, oriented_size
from flashtalk.streaming import StreamSpec
from flashtalk.v1 import media_pb2
from flashtalk.v1 import session_service_pb2 as session_pb2
from services.gateway.keys.entries import ApiKey
from services.gateway.limits import GatewayLimits
from services.gateway.store.records import SessionSetting

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_ID = 64
MAX_PROMPT = 2_000
_TTL_S = (5.0, 3_600.0)
_DEFAULT_TTL_S = 60.0
_SESSION_ID_BYTES = 12


@dataclass(frozen=True)
class Creation:
    """A valid request, without its picture.

    Args:
        request_id: chosen by the client; digest: of all fields of the request.
        prompt: empty for the model's default.
        size_hw: None for the model's default.
        ttl_s: lifetime without a stream.
    """

    request_id: str
    digest: str
    prompt: str
    seed: int
    size_hw: tuple[int, int] | None
    video_codec: int
    idle_policy: int
    pacing: int
    ttl_s: float
    portrait: bytes

    def picture(self, sizes_hw: Sequence[tuple[int, int]], limits: GatewayLimits) -> Rgb:
        """The portrait at the size of the video, uint8 [H, W, 3]; slow, for a thread.

        Args:
            sizes_hw: sizes that workers have warmed up, the preferred one first.
            limits: limits of the picture.

        Raises:
            InputError: not a picture, or an unsupported size.
        """
        portrait_HWC = decode_image(
            self.portrait, "portrait", max_pixels=limits.max_portrait_pixels
        )
        size_hw = self.size_hw
        if size_hw is None:
            turned = oriented_size(sizes_hw[0], portrait_HWC)
            size_hw = turned if turned in sizes_hw else sizes_hw[0]
        if size_hw not in sizes_hw:
            served = ", ".join(f"{w}x{h}" for h, w in sizes_hw)
            raise InputError("size", f"{size_hw[1]}x{size_hw[0]}", f"one of {served}")
        return cover(portrait_HWC, size_hw)

    def setting(
        self,
        session_id: str,
        size_hw: tuple[int, int],
        asset: str,
        limits: GatewayLimits,
        caller: ApiKey,
        spec: StreamSpec,
    ) -> SessionSetting:
        """Returns the setting of a new session, which belongs to the caller."""
        return SessionSetting(
            session_id=session_id,
            request_id=self.request_id,
            request_digest=self.digest,
            width_px=size_hw[1],
            height_px=size_hw[0],
            seed=self.seed,
            video_codec=self.video_codec,
            idle_policy=self.idle_policy,
            pacing=self.pacing,
            asset=asset,
            created_s=time.time(),
            ttl_s=self.ttl_s,
            max_lifetime_s=min(limits.max_lifetime_s, caller.max_lifetime_s),
            key_name=caller.name,
            spec=spec,
        )


def checked_session_id(field: str, session_id: str) -> str:
    """Returns a valid session name. Raises InputError for any other."""
    if not 0 < len(session_id) <= _MAX_ID:
        raise InputError(field, f"{len(session_id)} characters", f"1 to {_MAX_ID} characters")
    return session_id


def new_session_id() -> str:
    """Returns a new random session name."""
    return secrets.token_urlsafe(_SESSION_ID_BYTES)


def check_creation(request: session_pb2.CreateSessionRequest, limits: GatewayLimits) -> Creation:
    """Validates everything that needs neither workers nor the picture's contents.

    Raises:
        InputError: naming the field, the value and the limit.
    """
    if not _ID.fullmatch(request.request_id):
        raise InputError(
            "request_id", request.request_id[:80], "must be 1 to 64 characters of A-Z a-z 0-9 _ -"
        )
    size = len(request.portrait)
    if not 0 < size <= limits.max_portrait_bytes:
        raise InputError("portrait", f"{size} bytes", f"1 to {limits.max_portrait_bytes} bytes")
    check_prompt(request.prompt)
    idle = request.idle_policy or session_pb2.IDLE_POLICY_MODEL
    pacing = request.pacing or session_pb2.PACING_REAL_TIME
    codec = request.video_codec or media_pb2.VIDEO_CODEC_H264
    _check_enum("idle_policy", idle, session_pb2.IdlePolicy)
    _check_enum("pacing", pacing, session_pb2.Pacing)
    _check_enum("video_codec", codec, media_pb2.VideoCodec)
    if pacing == session_pb2.PACING_UNLIMITED and idle != session_pb2.IDLE_POLICY_WAIT:
        raise InputError("pacing", "PACING_UNLIMITED", "requires IDLE_POLICY_WAIT")
    ttl_s = _DEFAULT_TTL_S
    if request.HasField("ttl"):
        ttl_s = request.ttl.seconds + request.ttl.nanos / 1e9
        if not _TTL_S[0] <= ttl_s <= _TTL_S[1]:
            raise InputError("ttl", f"{ttl_s:g} s", f"{_TTL_S[0]:g} to {_TTL_S[1]:g} s")
    size_hw = None
    if request.HasField("size"):
        size_hw = (request.size.height_px, request.size.width_px)
    return Creation(
        request_id=request.request_id,
        digest=hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest(),
        prompt=request.prompt,
        seed=request.seed,
        size_hw=size_hw,
        video_codec=codec,
        idle_policy=idle,
        pacing=pacing,
        ttl_s=ttl_s,
        portrait=request.portrait,
    )


def check_prompt(prompt: str) -> None:
    """Raises InputError for a prompt that is too long."""
    if len(prompt) > MAX_PROMPT:
        raise InputError("prompt", f"{len(prompt)} characters", f"at most {MAX_PROMPT}")


def _check_enum(field: str, value: int, kind: object) -> None:
    names = kind.keys()  # type: ignore[attr-defined]
    if value not in kind.values():  # type: ignore[attr-defined]
        raise InputError(field, value, f"one of {', '.join(names)}")
