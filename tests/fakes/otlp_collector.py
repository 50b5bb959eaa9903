"""Receives traces as a collector does, over OTLP, and keeps them to be looked at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc
from opentelemetry.proto.trace.v1 import trace_pb2


@dataclass(frozen=True)
class Span:
    """One span, and the service that it is from.

    Args:
        links: (trace, span) that it refers to.
    """

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    begun_ns: int
    ended_ns: int
    about: dict[str, Any]
    links: tuple[tuple[str, str], ...]


class Collector(pb_grpc.TraceServiceServicer):
    """All spans that came."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.endpoint = ""
        self.received: list[bytes] = []  # with what ``spans`` leave out, such as events

    def Export(
        self, request: pb.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> pb.ExportTraceServiceResponse:
        """See OTLP."""
        self.received.append(request.SerializeToString())
        for resource in request.resource_spans:
            service = _attributes(resource.resource)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [_span(service, span) for span in scope.spans]
        return pb.ExportTraceServiceResponse()


def _span(service: str, span: trace_pb2.Span) -> Span:
    return Span(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _attributes(span),
        tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
    )


def _attributes(owner: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in owner.attributes}


@contextlib.contextmanager
def collector() -> Iterator[Collector]:
    """A collector that listens while the block runs."""
    keeping = Collector()
    server = grpc.server(ThreadPoolExecutor(4))
    pb_grpc.add_TraceServiceServicer_to_server(keeping, server)  # type: ignore[no-untyped-call]
    keeping.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield keeping
    finally:
        server.stop(1).wait()
