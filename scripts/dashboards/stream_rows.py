"""The dashboard's upper half: cycle of a chunk, viewers, stages, sessions and queues."""

from __future__ import annotations

from flashtalk.presets import PUBLISHED
from flashtalk.streaming import PCM_HZ, preset_spec
from scripts.dashboards.panels import Query, Row, graph, quantile_by, quantiles, rate, selected

CHUNK_S = preset_spec(PUBLISHED).new_s
"""Video in a chunk (FlashHead Lite: 0.96 s); streams fall behind if it takes longer."""

_CHUNKS = f"sum({rate('flashtalk_chunk_seconds_count')})"
_CYCLE = f"sum({rate('flashtalk_chunk_seconds_sum')})"
_VIDEO_S = f"scalar(max(flashtalk_chunk_video_seconds{selected()}))"
_STAGES = rate("flashtalk_chunk_stage_seconds_sum")


def _cycle() -> Row:
    by_stage = f"sum by (stage) ({_STAGES}) / on () group_left () {_CHUNKS}"
    rest = f"clamp_min(({_CYCLE} - sum({_STAGES})) / {_CHUNKS}, 0)"
    return Row(
        "Cycle of a chunk (Figure 6 of the report)",
        [
            graph(
                "Cycle of a chunk by stage",
                "Mean time from plan to commit. Stages are measured at the gateway and "
                "include calls, queues and retries; overhead is the rest. Good: denoise "
                "dominates and the sum stays well below the red line at 1.12 s, the duration "
                "of a chunk. Bad: above the line, where no stream keeps up; the stage that "
                "grew is the cause.",
                "s",
                [Query(by_stage, "{{stage}}"), Query(rest, "overhead")],
                width=10,
                stacked=True,
                limit=CHUNK_S,
            ),
            graph(
                "Cycle of a chunk",
                "Percentiles of the time from plan to commit. Good: p99 below 1.12 s. Bad: "
                "p95 above 90 % of it (alert).",
                "s",
                quantiles("flashtalk_chunk_seconds"),
                width=7,
                limit=CHUNK_S,
            ),
            graph(
                "Real-time factor",
                "Time of a chunk divided by its duration. Good: below 0.9. Bad: 1 or more, "
                "where streams fall behind.",
                "short",
                [
                    Query(f"{_CYCLE} / {_CHUNKS} / {_VIDEO_S}", "mean"),
                    Query(f"{quantiles('flashtalk_chunk_seconds')[1].expr} / {_VIDEO_S}", "p95"),
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
                "Time from opening a stream to its first frame; includes the speech that the "
                "first chunk needs. Good: about 1.12 s of speech plus one cycle. Bad: p95 "
                "above 3 s (alert).",
                "s",
                quantiles("flashtalk_first_frame_seconds"),
                limit=3.0,
            ),
            graph(
                "Lateness of chunks",
                "Lateness of the first frame of a chunk; real-time streams only. The first "
                "chunk after an interruption is due at once, so it is one cycle late. Good: "
                "0 otherwise. Bad: more than 0.1 s without interruptions, so the video "
                "freezes (alert).",
                "s",
                quantiles("flashtalk_chunk_late_seconds"),
                limit=0.1,
            ),
            graph(
                "Underruns, share of chunks",
                "Share of chunks with silence in place of late speech. Good: 0. Bad: above 5 "
                "% (alert): clients or the network are too slow, or chunks start too early.",
                "percentunit",
                [Query(f"sum({rate('flashtalk_underruns_total')}) / {_CHUNKS}", "underruns")],
                limit=0.05,
            ),
            graph(
                "Silence in place of speech",
                "Seconds of silence per second, sum of all streams. Good: 0. Bad: it grows "
                "with the number of streams.",
                "s",
                [Query(missing, "silence per second")],
            ),
            graph(
                "Frames and chunks per second",
                "Committed chunks and sent frames. Good: 25 frames per second per active "
                "stream. Bad: fewer frames at the same number of streams.",
                "short",
                [
                    Query(f"sum({rate('flashtalk_frames_sent_total')})", "frames"),
                    Query(f"sum({rate('flashtalk_chunks_total')})", "chunks"),
                ],
            ),
            graph(
                "Interruptions",
                "Time from the request to its acknowledgement. Good: well below a cycle. "
                "Bad: above one second, where interrupted speech is still played.",
                "s",
                quantiles("flashtalk_interrupt_seconds"),
                limit=1.0,
            ),
            graph(
                "New prompts",
                "Time from a new prompt to the first chunk that uses it. Good: below two "
                "cycles. Bad: several seconds, so prompts wait behind chunks of other "
                "sessions.",
                "s",
                quantiles("flashtalk_prompt_seconds"),
            ),
            graph(
                "New prompts per second",
                "Prompt updates by outcome. Good: mostly applied. Bad: failed, so prompts "
                "are not encoded in time.",
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
                "Including calls, queues and retries. Good: close to the stage time at "
                "workers. Bad: far above it, so the time is lost in queues, the network or "
                "retries.",
                "s",
                quantile_by("stage", "flashtalk_chunk_stage_seconds"),
            ),
            graph(
                "Stages as workers compute them, p95",
                "Compute time only. Good: flat. Bad: it rises with load, so the device is "
                "too small or throttled.",
                "s",
                quantile_by("stage", "flashtalk_worker_stage_seconds"),
            ),
            graph(
                "Cycle minus compute time",
                "Time of a chunk outside the workers' computation: transport, queues, store, "
                "gateway. Good: below 0.1 s. Bad: it rises with the number of sessions; add "
                "workers or gateways.",
                "s",
                quantiles("flashtalk_chunk_overhead_seconds"),
            ),
        ],
    )


def _sessions() -> Row:
    # Every gateway counts the same slots, but only its own streams.
    free = f"max(flashtalk_session_slots_free{selected()})"
    intake = f"sum(flashtalk_intake_samples{selected()}) / {PCM_HZ}"
    return Row(
        "Sessions and queues",
        [
            graph(
                "Sessions and slots",
                "Good: some slots are free. Bad: no slot is free (alert), so new sessions "
                "are refused.",
                "short",
                [
                    Query(f"sum(flashtalk_streams{selected()})", "open streams"),
                    Query(f"max(flashtalk_session_slots{selected()})", "slots"),
                    Query(free, "free slots"),
                ],
            ),
            graph(
                "Ready workers",
                "Ready workers by role; minimum over gateways. Good: as many as were "
                "deployed. Bad: 0 of a role (alert), so no chunk can be generated.",
                "short",
                [Query(f"min by (role) (flashtalk_ready_workers{selected()})", "{{role}}")],
            ),
            graph(
                "Failed calls to workers",
                "By role; `retries` counts those of committed chunks. Good: 0, or a few "
                "while workers are replaced. Bad: a lasting rate (alert).",
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
                "Frames waiting to be sent, sum of all streams. Good: up to 28 (one chunk) "
                "per stream. Bad: 56 or more per stream, so clients read too slowly.",
                "short",
                [Query(f"sum(flashtalk_outbox_frames{selected()})", "frames")],
            ),
            graph(
                "Intake",
                "Buffered speech in seconds, sum of all streams. Good: about one chunk per "
                "live stream. Bad: it grows with live speech, so chunks are generated too "
                "slowly.",
                "s",
                [Query(intake, "speech")],
            ),
            graph(
                "Jobs pending in workers",
                "Waiting and running jobs. Good: 0 or 1 per worker. Bad: constantly several, "
                "so sessions wait for each other.",
                "short",
                [Query(f"flashtalk_worker_pending{selected()}", "{{job}} {{instance}}")],
            ),
            graph(
                "Queue time in workers, p95",
                "Time from the arrival of a job to its start. Good: a small part of the "
                "cycle. Bad: as long as the computation; add workers or reduce their slots.",
                "s",
                quantile_by("job", "flashtalk_worker_wait_seconds"),
            ),
            graph(
                "Graphs compiled after warm-up",
                "Only workers with COMPILE. Good: 0. Bad: above 0, so sessions waited for a "
                "compilation; add the size to SIZES.",
                "short",
                [Query(f"flashtalk_worker_recompiles{selected()}", "{{job}} {{instance}}")],
            ),
            graph(
                "Interruptions per second",
                "Rate of interruptions. Neither good nor bad; each discards about one chunk.",
                "ops",
                [Query(f"sum({rate('flashtalk_interrupt_seconds_count')})", "interruptions")],
            ),
            graph(
                "Store errors",
                "Calls to Redis that failed after all retries, by cause. Good: 0. Bad: above "
                "0 (alert), so chunks cannot be committed and streams end.",
                "ops",
                [Query(f"sum by (cause) ({rate('flashtalk_store_errors_total')})", "{{cause}}")],
            ),
        ],
    )


def stream_rows() -> list[Row]:
    """Returns the rows: latency first, then its causes."""
    return [_cycle(), _viewers(), _stages(), _sessions()]
