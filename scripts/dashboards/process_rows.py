"""The dashboard's lower half: calls, processes, caches, GPUs and Redis."""

from __future__ import annotations

from scripts.dashboards.panels import Query, Row, graph, quantile_by, rate, selected

_EACH = "{{job}} {{instance}}"


def _calls() -> Row:
    failed = rate("flashtalk_rpc_handled_total", 'code!="OK"')
    return Row(
        "Calls",
        [
            graph(
                "Calls per second",
                "By method, all services. Good: Encode, Denoise and Decode have the same "
                "rate. Bad: one has a higher rate, so it is being retried.",
                "reqps",
                [Query(f"sum by (method) ({rate('flashtalk_rpc_started_total')})", "{{method}}")],
            ),
            graph(
                "Failed calls per second",
                "Calls with a status other than OK, by method and code. Good: only codes "
                "caused by clients, such as CANCELLED and INVALID_ARGUMENT. Bad: INTERNAL, "
                "UNKNOWN, UNAVAILABLE or DEADLINE_EXCEEDED (alert).",
                "reqps",
                [Query(f"sum by (method, code) ({failed})", "{{method}} {{code}}")],
            ),
            graph(
                "Latency of calls, p95",
                "By method, without Stream and Watch, which run as long as a session. Good: "
                "flat. Bad: it rises with load.",
                "s",
                quantile_by("method", "flashtalk_rpc_seconds", r'method!~".*/(Stream|Watch)"'),
            ),
            graph(
                "Running calls",
                "By method. Good: one Stream per session and a few of every other method. "
                "Bad: it rises steadily, so calls hang.",
                "short",
                [Query(f"sum by (method) (flashtalk_rpc_running{selected()})", "{{method}}")],
            ),
        ],
    )


def _processes() -> Row:
    files = f"process_open_fds{selected()} / process_max_fds{selected()}"
    return Row(
        "Processes",
        [
            graph(
                "Memory",
                "Resident memory per process. Good: flat after the first minutes. Bad: "
                "growth of more than 50 % per day (alert).",
                "bytes",
                [Query(f"process_resident_memory_bytes{selected()}", _EACH)],
            ),
            graph(
                "Processor time",
                "CPU cores in use per process. Good: gateways well below one core. Bad: a "
                "gateway at one core, so its event loop is saturated; add gateways.",
                "short",
                [Query(rate("process_cpu_seconds_total"), _EACH)],
            ),
            graph(
                "Open files, share of the limit",
                "Open files and connections. Good: below 20 %. Bad: it rises for hours, "
                "which indicates a leak.",
                "percentunit",
                [Query(files, _EACH)],
                limit=0.8,
            ),
            graph(
                "Tasks of the event loop",
                "Good: it follows the number of sessions. Bad: it rises steadily, which "
                "indicates a leak.",
                "short",
                [Query(f"flashtalk_tasks{selected()}", _EACH)],
            ),
            graph(
                "Age of each process",
                "Time since the start of the process. Good: rising lines. Bad: repeated "
                "drops to 0, so the process is being restarted.",
                "s",
                [Query(f"time() - process_start_time_seconds{selected()}", _EACH)],
            ),
            graph(
                "Targets up",
                "Whether Prometheus can scrape all targets of a job. Good: 1. Bad: 0 (alert).",
                "short",
                [Query(f"min by (job) (up{selected()})", "{{job}}")],
            ),
        ],
    )


def _caches() -> Row:
    batch = "flashtalk_audio_encoder_batch_windows"
    mean = f"sum({rate(batch + '_sum')}) / sum({rate(batch + '_count')})"
    return Row(
        "Batches and caches of workers",
        [
            graph(
                "Audio windows per batch",
                "Mean batch size of the audio encoder. Good: above 1 under load. Bad: 1 with "
                "many sessions, so nothing is batched.",
                "short",
                [Query(mean, "windows")],
            ),
            graph(
                "Cached conditionings",
                "Portraits and prompts cached by DiT workers. Good: about one per session. "
                "Bad: fewer than sessions, so they are recomputed.",
                "short",
                [Query(f"flashtalk_dit_worker_conditionings{selected()}", _EACH)],
            ),
            graph(
                "Memory of conditionings",
                "Good: below the setting CONDITIONING_BYTES. Bad: constantly at that limit; "
                "raise it.",
                "bytes",
                [Query(f"flashtalk_dit_worker_conditioning_bytes{selected()}", _EACH)],
            ),
        ],
    )


def _gpus() -> Row:
    gpu = "{{Hostname}} {{gpu}}"
    note = " From the DCGM exporter; empty without it."
    return Row(
        "GPUs (DCGM exporter)",
        [
            graph(
                "GPU busy",
                (
                    "GPU utilisation. Good: high under load. Bad: low while chunks are slow, so "
                    "the bottleneck is elsewhere."
                )
                + note,
                "percentunit",
                [Query("DCGM_FI_DEV_GPU_UTIL / 100", gpu)],
                width=6,
            ),
            graph(
                "GPU memory in use",
                "Good: flat. Bad: it rises for hours or approaches the memory size of the GPU."
                + note,
                "mbytes",
                [Query("DCGM_FI_DEV_FB_USED", gpu)],
                width=6,
            ),
            graph(
                "GPU temperature",
                "Good: below 80 °C. Bad: above 85 °C, where the GPU throttles." + note,
                "celsius",
                [Query("DCGM_FI_DEV_GPU_TEMP", gpu)],
                width=6,
                limit=85.0,
            ),
            graph(
                "GPU power",
                "Good: below the power limit. Bad: at the limit, where the GPU throttles." + note,
                "watt",
                [Query("DCGM_FI_DEV_POWER_USAGE", gpu)],
                width=6,
            ),
        ],
    )


def _redis() -> Row:
    note = " From redis_exporter; empty without it."
    busy = "rate(redis_commands_duration_seconds_total[$__rate_interval])"
    return Row(
        "Redis (redis_exporter)",
        [
            graph(
                "Redis memory",
                "Good: flat at a constant number of sessions. Bad: it approaches the maximum."
                + note,
                "bytes",
                [
                    Query("redis_memory_used_bytes", "{{instance}} used"),
                    Query("redis_memory_max_bytes", "{{instance}} maximum"),
                ],
                width=6,
            ),
            graph(
                "Redis commands per second",
                (
                    "Good: proportional to chunks per second. Bad: it falls while the chunk rate "
                    "does not."
                )
                + note,
                "ops",
                [Query("rate(redis_commands_processed_total[$__rate_interval])", "{{instance}}")],
                width=6,
            ),
            graph(
                "Redis busy",
                (
                    "Seconds of command execution per second. Good: below 0.5. Bad: near 1, so "
                    "its single thread is saturated."
                )
                + note,
                "percentunit",
                [Query(f"sum by (instance) ({busy})", "{{instance}}")],
                width=6,
                limit=0.8,
            ),
            graph(
                "Redis up, clients and evictions",
                "Good: up is 1, no evictions. Bad: keys are evicted, so sessions are lost." + note,
                "short",
                [
                    Query("redis_up", "{{instance}} up"),
                    Query("redis_connected_clients", "{{instance}} clients"),
                    Query(
                        "rate(redis_evicted_keys_total[$__rate_interval])", "{{instance}} evicted/s"
                    ),
                ],
                width=6,
            ),
        ],
    )


def process_rows() -> list[Row]:
    """Returns the rows: calls first, hardware and Redis last."""
    return [_calls(), _processes(), _caches(), _gpus(), _redis()]
