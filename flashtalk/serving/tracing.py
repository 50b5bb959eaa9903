"""OpenTelemetry traces: off without an endpoint; contexts are sent in call metadata."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace

from flashtalk.errors import InputError
from flashtalk.wire.proxies import proxy_options

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

_NAME = "flashtalk"
_ENDPOINT = re.compile(r"https?://([^/\s:]+|\[[0-9a-fA-F:.]+\])(:\d+)?/?")
_NOBODYS = (trace.ProxyTracerProvider, trace.NoOpTracerProvider)
About = Mapping[str, str | int | float]


def set_up_tracing(service: str, endpoint: str = "", exporter: SpanExporter | None = None) -> None:
    """Exports spans to an OTLP endpoint (``http://host:4317``) or to ``exporter``; default: none.

    Raises:
        InputError: an invalid endpoint URL.
    """
    if not endpoint and exporter is None:
        return
    if endpoint and not (_ENDPOINT.fullmatch(endpoint) and endpoint.isprintable()):
        raise InputError("otlp_endpoint", endpoint, "must be http://HOST:PORT or https://HOST:PORT")
    # Imported only if needed: 0.15 s, and a client of their own.
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if exporter is None:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(
            endpoint=endpoint,
            insecure=endpoint.startswith("http://"),
            channel_options=tuple(proxy_options(endpoint)),  # type: ignore[arg-type]
        )
    resource = Resource.create({"service.name": f"flashtalk-{service}"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def end_tracing(limit_s: float = 2.0) -> None:
    """Exports the remaining spans at the end of a process, at most ``limit_s``."""
    shutdown = getattr(trace.get_tracer_provider(), "shutdown", None)
    if shutdown is not None:
        ending = threading.Thread(target=shutdown, daemon=True)
        ending.start()
        ending.join(limit_s)


@contextlib.contextmanager
def span(
    name: str,
    about: About | None = None,
    *,
    kind: trace.SpanKind = trace.SpanKind.INTERNAL,
    links: Iterable[trace.SpanContext] = (),
) -> Iterator[trace.Span]:
    """Opens a span for the block.

    Args:
        name: name of the span.
        about: attributes of the span.
        kind: see OpenTelemetry.
        links: related spans that are not its parent.
    """
    if not _recording():
        # Nothing is recorded, so the current span is kept.
        yield trace.get_current_span()
        return
    linked = [trace.Link(context) for context in links if context.is_valid]
    with trace.get_tracer(_NAME).start_as_current_span(
        name, kind=kind, links=linked, attributes=about
    ) as current:
        yield current


@contextlib.contextmanager
def own_trace(name: str, about: About | None = None) -> Iterator[trace.Span]:
    """Opens a span as the root of a new trace, linked to the current span."""
    if not _recording() and not otel_context.get_current():
        yield trace.INVALID_SPAN
        return
    around = current_span()
    token = otel_context.attach(otel_context.Context())
    try:
        with span(name, about, links=[around]) as current:
            yield current
    finally:
        otel_context.detach(token)


def _recording() -> bool:
    """Whether spans are exported. If not, none are created: a gateway has hundreds a second."""
    return not isinstance(trace.get_tracer_provider(), _NOBODYS)


def current_span() -> trace.SpanContext:
    """Returns the context of the current span; an invalid one without a span."""
    return trace.get_current_span().get_span_context()


@contextlib.contextmanager
def remote_parent(metadata: Mapping[str, str]) -> Iterator[None]:
    """Makes spans in the block children of the span in the metadata."""
    token = otel_context.attach(propagate.extract(dict(metadata)))
    try:
        yield
    finally:
        otel_context.detach(token)


def outgoing_metadata() -> Sequence[tuple[str, str]]:
    """Returns the metadata that a call needs to continue this trace on the server."""
    if not otel_context.get_current():
        return ()
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return tuple(carrier.items())


def trace_id() -> str | None:
    """Returns the current trace id in hex, or None without tracing."""
    current = current_span()
    return f"{current.trace_id:032x}" if current.is_valid else None
