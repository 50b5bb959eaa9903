"""A service whose spans nobody gets: it makes none, and what others trace goes through it."""

import pytest
from opentelemetry import trace

from flashtalk.serving.tracing import outgoing_metadata, own_trace, remote_parent, span, trace_id

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CARRIED = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


@pytest.fixture(autouse=True)
def untraced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever another test of this process has set up."""
    monkeypatch.setattr(trace, "get_tracer_provider", trace.NoOpTracerProvider)


def test_a_trace_of_the_callers_goes_through() -> None:
    with remote_parent(CARRIED), span("Encode", {"frames": 3}) as current:
        current.set_attributes({"seconds": 1.0})
        assert trace_id() == TRACE
        assert dict(outgoing_metadata()) == CARRIED
    assert trace_id() is None


def test_a_trace_of_its_own_is_none_at_all() -> None:
    with remote_parent(CARRIED), own_trace("chunk"):
        assert trace_id() is None
        assert list(outgoing_metadata()) == []
        with span("decode"):
            assert list(outgoing_metadata()) == []


def test_where_nobody_traces_nothing_is_carried() -> None:
    with own_trace("chunk"), span("decode") as current:
        assert not current.is_recording()
        assert trace_id() is None
        assert list(outgoing_metadata()) == []
