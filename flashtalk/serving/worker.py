"""Common parts of the three kinds of workers: settings, and their description."""

from __future__ import annotations

import secrets
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from pydantic import Field

from flashtalk.errors import InputError
from flashtalk.overlays import Overlay, parse_overlays, split_overlays
from flashtalk.presets import PRESETS
from flashtalk.serving.errors import Reason, ServiceError
from flashtalk.serving.settings import OptionalFile, ServiceSettings, user_cache
from flashtalk.streaming import StreamSpec, parse_size_hw
from flashtalk.v1 import media_pb2, worker_pb2
from flashtalk.wire.stream_spec import spec_to_proto


class WorkerSettings(ServiceSettings):
    """Settings common to all workers."""

    preset: str = Field(default="tiny", description=f"model: {', '.join(PRESETS)}")
    weights: Path | None = Field(
        default=None, description="folder of the weights; empty: the shipped tiny weights"
    )
    overlays: str = Field(
        default="",
        description="files merged into the transformer's weights in this order, "
        "FILE[:STRENGTH],...; equal for all workers",
    )
    device: str = Field(default="auto", description="device: auto, cpu, cuda or cuda:N")
    dtype: str = Field(default="auto", description="precision: auto, float32, bfloat16 or float8")
    attention: str = Field(
        default="auto", description="attention kernel: auto or one that `flashtalk doctor` lists"
    )
    compile: bool = Field(
        default=False, description="compile the models with torch.compile; needs a C++ compiler"
    )
    threads: int = Field(
        default=0, ge=0, le=256, description="number of CPU threads of torch; 0: torch's default"
    )
    sizes: str = Field(
        default="",
        description="served sizes in pixels, WIDTHxHEIGHT,...; empty: the size of the weights",
    )
    max_pending: int = Field(
        default=64, ge=1, le=4_096, description="maximum number of waiting and running calls"
    )
    cache: OptionalFile = Field(
        default_factory=user_cache,
        description="folder for results that are reused at the next start; empty: none",
    )
    session_slots: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="number of sessions that are accepted; 0: measured during the warm-up",
    )

    def checked_overlays(self) -> tuple[Overlay, ...]:
        """Returns the overlays. Raises InputError as ``parse_overlays``."""
        return parse_overlays(split_overlays(self.overlays))

    def sizes_hw(self, own_hw: tuple[int, int]) -> tuple[tuple[int, int], ...]:
        """Returns the served sizes as (height, width). Raises InputError for invalid text."""
        if not self.sizes.strip():
            return (own_hw,)
        return tuple(map(_size_hw, self.sizes.split(",")))


def _size_hw(text: str) -> tuple[int, int]:
    try:
        return parse_size_hw(text, "sizes")
    except InputError as error:
        raise InputError("sizes", text, error.limit) from None


def not_ready() -> ServiceError:
    """Returns the error of a call before the end of the warm-up."""
    return ServiceError(
        grpc.StatusCode.UNAVAILABLE,
        Reason.NOT_READY,
        "this worker is still warming up",
        retry_after_s=1.0,
    )


@dataclass
class WorkerCard:
    """The description of a worker; set during its start, constant afterwards.

    Attributes:
        role: role of the worker.
        ready: whether it is warmed up.
        preset, weights_digest, default_prompt, accepts_prompt, spec: data of its weights.
        sizes_hw: warmed-up sizes.
        session_slots: number of sessions that it can serve in real time.
        chunk_s: measured seconds per chunk.
    """

    role: str
    worker_id: str = ""
    ready: bool = False
    preset: str = ""
    weights_digest: str = ""
    default_prompt: str = ""
    accepts_prompt: bool = True
    spec: StreamSpec = field(default_factory=StreamSpec)
    sizes_hw: tuple[tuple[int, int], ...] = ()
    session_slots: int = 0
    chunk_s: float = 0.0

    def __post_init__(self) -> None:
        # A new id after every start: slots of an earlier process do not belong to this one.
        self.worker_id = f"{self.role}:{socket.gethostname()}:{secrets.token_hex(6)}"

    def check_ready(self) -> None:
        """Raises ServiceError (UNAVAILABLE, NOT_READY) before the end of the warm-up."""
        if not self.ready:
            raise not_ready()

    def check_size(self, field: str, size_hw: tuple[int, int]) -> None:
        """Raises InputError for a size that was not warmed up."""
        if size_hw not in self.sizes_hw:
            known = ", ".join(f"{width}x{height}" for height, width in self.sizes_hw)
            raise InputError(field, f"{size_hw[1]}x{size_hw[0]}", f"one of {known}")

    def describe(self, pending: int) -> worker_pb2.GetWorkerResponse:
        """Returns the response to GetWorker."""
        return worker_pb2.GetWorkerResponse(
            worker_id=self.worker_id,
            role=self.role,
            preset=self.preset,
            weights_digest=self.weights_digest,
            sizes=[media_pb2.VideoSize(width_px=w, height_px=h) for h, w in self.sizes_hw],
            session_slots=self.session_slots,
            chunk_s=self.chunk_s,
            default_prompt=self.default_prompt,
            accepts_prompt=self.accepts_prompt,
            geometry=spec_to_proto(self.spec),
            pending=pending,
        )


def deadline_s(context: Any) -> float | None:
    """Returns the deadline of a call on the monotonic clock."""
    left_s = context.time_remaining()
    return None if left_s is None else time.monotonic() + left_s
