"""What clients may ask for, and how long things may take: one value, made of the settings."""

from __future__ import annotations

from dataclasses import dataclass

from flashtalk.streaming import StreamSpec


@dataclass(frozen=True)
class GatewayLimits:
    """Limits of one gateway; every field is a setting of the same name (``GatewaySettings``).

    Args:
        max_portrait_bytes, max_portrait_pixels: of a picture file, and of the picture in it.
        max_lifetime_s: of a session, whatever happens.
        max_packet_bytes: of an AudioPacket.
        max_buffered_s: seconds of speech that wait; then the stream is not read.
        send_ahead_s: how much earlier than its time a frame leaves.
        open_timeout_s: for the first message of a stream.
        heartbeat_s: between two words to the store about an open stream.
        client_heartbeat_s: between two words to a client where there is nothing else to say.
        release_timeout_s: for giving the session back when a stream ends.
        drain_s: between a GoAway and the end.
        interrupt_timeout_s: for an interruption that another gateway carries out.
        call_timeout_s: one call to a worker, beyond the time at which its chunk is due.
        chunk_timeout_s: all attempts at one stage of a chunk together.
        worker_poll_s: between two looks at the workers; worker_probe_timeout_s: an answer then.
        slot_lease_s: a slot that a session moved to, until it is renewed.
        worker_linger_s: calls to a worker that its name no longer stands for; longer than any
            deadline.
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
    call_timeout_s: float
    chunk_timeout_s: float
    worker_poll_s: float
    worker_probe_timeout_s: float
    slot_lease_s: float
    worker_linger_s: float

    def max_buffered_samples(self, spec: StreamSpec) -> int:
        """Of the speech that waits."""
        return int(self.max_buffered_s * spec.pcm_hz)
