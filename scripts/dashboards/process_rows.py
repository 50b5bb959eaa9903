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
                "By method, all services. Good: Encode, Denoise and Decode go up and down "
                "together. Bad: one of them more often than the others, it is being retried.",
                "reqps",
                [Query(f"sum by (method) ({rate('flashtalk_rpc_started_total')})", "{{method}}")],
            ),
            graph(
                "Calls that did not end with OK, per second",
                "By method and code. Good: CANCELLED where clients leave, INVALID_ARGUMENT where "
                "they err. Bad: INTERNAL, UNKNOWN, UNAVAILABLE, DEADLINE_EXCEEDED (an alert): "
                "ours.",
                "reqps",
                [Query(f"sum by (method, code) ({failed})", "{{method}} {{code}}")],
            ),
            graph(
                "Latency of calls, p95",
                "By method; Stream lasts as long as its session. Good: flat. Bad: it rises with "
                "load.",
                "s",
                quantile_by("method", "flashtalk_rpc_seconds", r'method!~".*/(Stream|Watch)"'),
            ),
            graph(
                "Calls that run",
                "By method. Good: one Stream for each session, no more than a few of each other. "
                "Bad: one that only rises, calls hang.",
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
                "Resident memory of each process. Good: flat after the first minutes. Bad: a "
                "slope that would add half of it in a day (an alert).",
                "bytes",
                [Query(f"process_resident_memory_bytes{selected()}", _EACH)],
            ),
            graph(
                "Processor time",
                "Cores that each process keeps busy. Good: a gateway well below one core. Bad: a "
                "gateway at one core, its event loop is full: add gateways.",
                "short",
                [Query(rate("process_cpu_seconds_total"), _EACH)],
            ),
            graph(
                "Open files, share of the limit",
                "Files and connections. Good: below 20 %. Bad: it rises for hours, something "
                "leaks.",
                "percentunit",
                [Query(files, _EACH)],
                limit=0.8,
            ),
            graph(
                "Tasks of the event loop",
                "Good: it goes up and down with sessions. Bad: it only rises, something leaks.",
                "short",
                [Query(f"flashtalk_tasks{selected()}", _EACH)],
            ),
            graph(
                "Age of each process",
                "Good: lines that rise. Bad: one that falls to 0 again and again, it is restarted.",
                "s",
                [Query(f"time() - process_start_time_seconds{selected()}", _EACH)],
            ),
            graph(
                "Targets that are up",
                "Pages of metrics that Prometheus can read. Good: 1. Bad: 0 (an alert).",
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
                "Windows of speech in a batch",
                "Mean of what the audio encoder computes at once. Good: more than 1 under load. "
                "Bad: 1 with many sessions, each pays for itself.",
                "short",
                [Query(mean, "windows")],
            ),
            graph(
                "Conditionings that are kept",
                "Portraits and prompts that DiT workers know. Good: about one for each session. "
                "Bad: fewer than sessions, they are made again and again.",
                "short",
                [Query(f"flashtalk_dit_worker_conditionings{selected()}", _EACH)],
            ),
            graph(
                "Memory of conditionings",
                "Good: below the setting CONDITIONING_BYTES. Bad: at it all the time, raise it.",
                "bytes",
                [Query(f"flashtalk_dit_worker_conditioning_bytes{selected()}", _EACH)],
            ),
        ],
    )


def _gpus() -> Row:
    gpu = "{{Hostname}} {{gpu}}"
    note = " Every GPU that the DCGM exporter sees; empty without it."
    return Row(
        "GPUs (DCGM exporter)",
        [
            graph(
                "GPU busy",
                "Share of time with work. Good: high under load. Bad: low while chunks "
                "are slow, something else is the limit." + note,
                "percentunit",
                [Query("DCGM_FI_DEV_GPU_UTIL / 100", gpu)],
                width=6,
            ),
            graph(
                "GPU memory in use",
                "Good: flat. Bad: it rises for hours, or nears the card's size." + note,
                "mbytes",
                [Query("DCGM_FI_DEV_FB_USED", gpu)],
                width=6,
            ),
            graph(
                "GPU temperature",
                "Good: below 80. Bad: above 85, the card slows down." + note,
                "celsius",
                [Query("DCGM_FI_DEV_GPU_TEMP", gpu)],
                width=6,
                limit=85.0,
            ),
            graph(
                "GPU power",
                "Good: below the card's limit. Bad: at it, the card slows down." + note,
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
                "Good: flat for as many sessions. Bad: it nears the maximum." + note,
                "bytes",
                [
                    Query("redis_memory_used_bytes", "{{instance}} used"),
                    Query("redis_memory_max_bytes", "{{instance}} maximum"),
                ],
                width=6,
            ),
            graph(
                "Redis commands per second",
                "Good: it follows chunks. Bad: it falls while chunks do not." + note,
                "ops",
                [Query("rate(redis_commands_processed_total[$__rate_interval])", "{{instance}}")],
                width=6,
            ),
            graph(
                "Redis busy",
                "Seconds of commands per second. Good: below 0.5. Bad: near 1, its one "
                "thread is full." + note,
                "percentunit",
                [Query(f"sum by (instance) ({busy})", "{{instance}}")],
                width=6,
                limit=0.8,
            ),
            graph(
                "Redis up, clients and evictions",
                "Good: up is 1, no evictions. Bad: keys are evicted, sessions are lost." + note,
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
    """Calls first, hardware and Redis last."""
    return [_calls(), _processes(), _caches(), _gpus(), _redis()]
