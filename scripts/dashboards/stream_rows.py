"""The dashboard's upper half: chunks, viewers, sessions and queues, the slowest things first."""

from __future__ import annotations

from flashtalk.presets import PUBLISHED
from flashtalk.streaming import PCM_HZ, preset_spec
from scripts.dashboards.panels import Query, Row, graph, quantile_by, quantiles, rate, selected

CHUNK_S = preset_spec(PUBLISHED).new_s
"""Video of one chunk: whoever makes it more slowly falls behind."""

_CHUNKS = f"sum({rate('flashtalk_chunk_seconds_count')})"
_CYCLE = f"sum({rate('flashtalk_chunk_seconds_sum')})"
_STAGES = rate("flashtalk_chunk_stage_seconds_sum")


def _cycle() -> Row:
    by_stage = f"sum by (stage) ({_STAGES}) / on () group_left () {_CHUNKS}"
    rest = f"clamp_min(({_CYCLE} - sum({_STAGES})) / {_CHUNKS}, 0)"
    return Row(
        "Where the time of a chunk goes (Figure 6 of the report)",
        [
            graph(
                "Cycle of a chunk by stage",
                "Mean time from plan to commit. The stages are waits of the gateway: calls, "
                "queues and retries included; overhead is what lies between them. Good: denoise "
                "is most of it and the top stays well below the red line, 1.12 s, the video of a "
                "chunk. Bad: above the line no stream keeps up; whichever colour grew says where "
                "to look.",
                "s",
                [Query(by_stage, "{{stage}}"), Query(rest, "overhead")],
                width=10,
                stacked=True,
                limit=CHUNK_S,
            ),
            graph(
                "Cycle of a chunk",
                "Percentiles of the same time. Good: p99 below 1.12 s. Bad: p95 above 1.0 s (an "
                "alert), for then one slow chunk in twenty is about to be late.",
                "s",
                quantiles("flashtalk_chunk_seconds"),
                width=7,
                limit=CHUNK_S,
            ),
            graph(
                "Real-time factor",
                "Time to make a chunk by the video that it holds. Good: below 0.9. Bad: 1 and "
                "more, streams then fall behind for as long as it lasts.",
                "short",
                [
                    Query(f"{_CYCLE} / {_CHUNKS} / {CHUNK_S}", "mean"),
                    Query(f"{quantiles('flashtalk_chunk_seconds')[1].expr} / {CHUNK_S}", "p95"),
                ],
                width=7,
                limit=1.0,
            ),
        ],
    )


def _viewers() -> Row:
    missing = f"sum({rate('flashtalk_underrun_samples_total')}) / {PCM_HZ}"
    return Row(
        "What viewers notice",
        [
            graph(
                "Time to first frame",
                "From opening a stream to its first frame; a part of it is spoken before a chunk "
                "can begin. Good: about 1.12 s of speech and one cycle. Bad: p95 above 3 s (an "
                "alert).",
                "s",
                quantiles("flashtalk_first_frame_seconds"),
                limit=3.0,
            ),
            graph(
                "Lateness of chunks",
                "How late the first frame of a chunk left, streams in real time only. The first "
                "chunk after an interruption is due at once, so it is late by a cycle. Good: 0 "
                "otherwise. Bad: more than 0.1 s without interruptions, the picture stands still "
                "(an alert).",
                "s",
                quantiles("flashtalk_chunk_late_seconds"),
                limit=0.1,
            ),
            graph(
                "Underruns, share of chunks",
                "Chunks that hold silence because speech came too late. Good: 0. Bad: above 5 % "
                "(an alert): clients or the network are late, or chunks are begun too early.",
                "percentunit",
                [Query(f"sum({rate('flashtalk_underruns_total')}) / {_CHUNKS}", "underruns")],
                limit=0.05,
            ),
            graph(
                "Silence in place of speech",
                "Seconds of silence per second, all streams together. Good: 0. Bad: it grows "
                "with the number of streams.",
                "s",
                [Query(missing, "silence per second")],
            ),
            graph(
                "Frames and chunks per second",
                "What was made and sent. Good: 25 frames a second for each stream that speaks. "
                "Bad: fewer frames with as many streams.",
                "short",
                [
                    Query(f"sum({rate('flashtalk_frames_sent_total')})", "frames"),
                    Query(f"sum({rate('flashtalk_chunks_total')})", "chunks"),
                ],
            ),
            graph(
                "Interruptions",
                "Time from asking to the answer. Good: well below a cycle. Bad: above a second, "
                "people hear what they have already cut off.",
                "s",
                quantiles("flashtalk_interrupt_seconds"),
                limit=1.0,
            ),
            graph(
                "New prompts",
                "Time from a new prompt to the chunk border from which it holds. Good: below two "
                "cycles. Bad: several seconds, prompts wait behind chunks of other sessions.",
                "s",
                quantiles("flashtalk_prompt_seconds"),
            ),
            graph(
                "New prompts per second",
                "By outcome. Good: mostly applied. Bad: failed, prompts are not encoded in time.",
                "ops",
                [
                    Query(
                        f"sum by (outcome) ({rate('flashtalk_prompt_updates_total')})",
                        "{{outcome}}",
                    )
                ],
            ),
        ],
    )


def _stages() -> Row:
    return Row(
        "Stages",
        [
            graph(
                "Stages as the gateway waits for them, p95",
                "With calls, queues and retries. Good: close to what workers compute (beside). "
                "Bad: far above it, the time is lost in queues, the network or on retries.",
                "s",
                quantile_by("stage", "flashtalk_chunk_stage_seconds"),
            ),
            graph(
                "Stages as workers compute them, p95",
                "Computing alone. Good: flat. Bad: it rises with the load, jobs then share a "
                "device that is too small or throttled.",
                "s",
                quantile_by("stage", "flashtalk_worker_stage_seconds"),
            ),
            graph(
                "Cycle less computing",
                "What a chunk costs beyond its workers' computing: transport, queues, store, "
                "gateway. Good: below 0.1 s. Bad: it rises with sessions, add workers or "
                "gateways.",
                "s",
                quantiles("flashtalk_chunk_overhead_seconds"),
            ),
        ],
    )


def _sessions() -> Row:
    # Every gateway counts the same slots, but streams of its own.
    free = f"max(flashtalk_session_slots_free{selected()})"
    intake = f"sum(flashtalk_intake_samples{selected()}) / {PCM_HZ}"
    return Row(
        "Sessions and queues",
        [
            graph(
                "Sessions and slots",
                "Good: some slots are free. Bad: none is (an alert), new sessions are refused.",
                "short",
                [
                    Query(f"sum(flashtalk_streams{selected()})", "open streams"),
                    Query(f"max(flashtalk_session_slots{selected()})", "slots"),
                    Query(free, "free slots"),
                ],
            ),
            graph(
                "Ready workers",
                "As the gateway that sees fewest finds them. Good: as many as were deployed. "
                "Bad: 0 of a kind (an alert), no chunk can be made.",
                "short",
                [Query(f"min by (role) (flashtalk_ready_workers{selected()})", "{{role}}")],
            ),
            graph(
                "Calls to workers that failed",
                "By kind of worker, and calls made again for chunks that were then committed. "
                "Good: 0; a few while workers are replaced. Bad: it goes on (an alert).",
                "ops",
                [
                    Query(
                        f"sum by (role) ({rate('flashtalk_worker_call_failures_total')})",
                        "{{role}} failed",
                    ),
                    Query(f"sum({rate('flashtalk_chunk_retries_total')})", "retries"),
                ],
            ),
            graph(
                "Outbox",
                "Frames that wait to leave, all streams. Good: up to 28 a stream, a chunk. Bad: "
                "56 and more a stream, clients do not read.",
                "short",
                [Query(f"sum(flashtalk_outbox_frames{selected()})", "frames")],
            ),
            graph(
                "Intake",
                "Seconds of speech that wait, all streams. Good: about a chunk for each live "
                "stream. Bad: it grows with live speech, chunks are made too slowly.",
                "s",
                [Query(intake, "speech")],
            ),
            graph(
                "Jobs pending in workers",
                "Jobs that wait or run. Good: 0 or 1 for each worker. Bad: several all the time, "
                "sessions wait for each other.",
                "short",
                [Query(f"flashtalk_worker_pending{selected()}", "{{job}} {{instance}}")],
            ),
            graph(
                "Wait of a job in a worker, p95",
                "From its arrival until it began. Good: a small part of the cycle. Bad: as long "
                "as the computing itself, add workers or take slots away.",
                "s",
                quantile_by("job", "flashtalk_worker_wait_seconds"),
            ),
            graph(
                "Graphs compiled too late",
                "Of workers that compile: after the warm-up. Good: 0. Bad: anything else, a "
                "session waited for it; its size is not among those that are warmed up.",
                "short",
                [Query(f"flashtalk_worker_recompiles{selected()}", "{{job}} {{instance}}")],
            ),
            graph(
                "Interruptions per second",
                "How often people cut in. Neither good nor bad; each costs about a chunk.",
                "ops",
                [Query(f"sum({rate('flashtalk_interrupt_seconds_count')})", "interruptions")],
            ),
            graph(
                "Errors of the store",
                "Calls of Redis that failed for good, by cause. Good: 0. Bad: anything else (an "
                "alert): chunks cannot be committed and streams end.",
                "ops",
                [Query(f"sum by (cause) ({rate('flashtalk_store_errors_total')})", "{{cause}}")],
            ),
        ],
    )


def stream_rows() -> list[Row]:
    """Latency first, then what causes it."""
    return [_cycle(), _viewers(), _stages(), _sessions()]
