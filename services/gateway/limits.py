"""The limits and timeouts of a gateway: one value, created from the settings."""

from __future__ import annotations

from dataclasses import dataclass

from flashtalk.streaming import StreamSpec


@dataclass(frozen=True)
class GatewayLimits:
    """Limits of one gateway; every field is a setting of the same name (``GatewaySettings``).

    Args:
        max_portrait_bytes, max_portrait_pixels: limits of a picture file and of its picture.
        max_lifetime_s: maximum lifetime of a session.
        max_packet_bytes: limit of an AudioPacket.
        max_buffered_s: limit of buffered speech in seconds; beyond it the stream is not read.
        send_ahead_s: time before its due time at which a frame may be sent.
        open_timeout_s: timeout of the first message of a stream.
        heartbeat_s: interval of heartbeats to the store for an open stream.
        client_heartbeat_s: interval of heartbeats to a client without other messages.
        release_timeout_s: timeout of the session's release when a stream ends.
        drain_s: time between a GoAway and the stop.
        interrupt_timeout_s: timeout of an interruption that another gateway carries out.
        prompt_timeout_s: timeout of the conditioning with a new prompt.
        idle_loop_chunks: generated chunks that an idle loop repeats.
        idle_loop_bytes: limit of the pictures of an idle loop that one stream keeps.
        call_timeout_s: timeout of a call to a worker, added to the time until its chunk is due.
        chunk_timeout_s: timeout of all attempts at one stage of a chunk.
        worker_poll_s: interval of worker probes; worker_probe_timeout_s: timeout of a probe.
        slot_lease_s: lease of a slot to which a session moved, until it is renewed.
        worker_linger_s: time for calls to a worker that its name no longer resolves to; longer than
            any deadline.
    """

    max_portrait_bytes: int
    max_portrait_pixels: int
    max_lifetime_s: float
    max_packet_bytes: int
    max_buffered_s: float
    send_ahead_s: float
    open_timeout_s: float
    heartbeat_s: float
    client_heartbeat_s: float
    release_timeout_s: float
    drain_s: float
    interrupt_timeout_s: float
    prompt_timeout_s: float
    idle_loop_chunks: int
    idle_loop_bytes: int
    call_timeout_s: float
    chunk_timeout_s: float
    worker_poll_s: float
    worker_probe_timeout_s: float
    slot_lease_s: float
    worker_linger_s: float

    def max_buffered_samples(self, spec: StreamSpec) -> int:
        """Limit of buffered speech in samples."""
        return int(self.max_buffered_s * spec.pcm_hz)
