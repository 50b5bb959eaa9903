"""OpenTelemetry traces: off until an endpoint is given; contexts travel in call metadata."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

_NAME = "flashtalk"


def set_up_tracing(service: str, endpoint: str = "", exporter: SpanExporter | None = None) -> None:
    """Sends spans to an OTLP endpoint (``http://host:4317``), to ``exporter``, or to nobody."""
    if not endpoint and exporter is None:
        return
    if exporter is None:
        # Imported only where it is wanted: it brings a client of its own.
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"))
    provider = TracerProvider(resource=Resource.create({"service.name": f"flashtalk-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def flush_traces() -> None:
    """Sends what waits; at the end of a process."""
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    if callable(flush):
        flush()


@contextlib.contextmanager
def span(
    name: str, *, kind: trace.SpanKind = trace.SpanKind.INTERNAL, **attributes: str | int | float
) -> Iterator[trace.Span]:
    """A span around the block."""
    tracer = trace.get_tracer(_NAME)
    with tracer.start_as_current_span(name, kind=kind, attributes=attributes) as current:
        yield current


@contextlib.contextmanager
def remote_parent(metadata: Mapping[str, str]) -> Iterator[None]:
    """Spans in the block are children of the one that the metadata name."""
    token = otel_context.attach(propagate.extract(dict(metadata)))
    try:
        yield
    finally:
        otel_context.detach(token)


def outgoing_metadata() -> Sequence[tuple[str, str]]:
    """What a call has to carry so that the other side can go on with this trace."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return tuple(carrier.items())


def trace_id() -> str | None:
    """The current trace in hex, or None without tracing."""
    current = trace.get_current_span().get_span_context()
    return f"{current.trace_id:032x}" if current.is_valid else None
