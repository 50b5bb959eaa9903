"""Stream specs to protobuf and back."""

from __future__ import annotations

import dataclasses

from flashtalk.streaming import StreamSpec
from flashtalk.v1 import worker_pb2

_FIELDS = tuple(field.name for field in dataclasses.fields(StreamSpec))


def spec_to_proto(spec: StreamSpec) -> worker_pb2.ChunkGeometry:
    """Returns the message of a spec."""
    return worker_pb2.ChunkGeometry(**dataclasses.asdict(spec))


def spec_from_proto(message: worker_pb2.ChunkGeometry) -> StreamSpec:
    """Returns the spec of a message; that of ``flashtalk-14b`` for an empty one.

    An empty message comes from a worker, or from a record, that is older than the field.

    Raises:
        InputError: numbers that do not fit each other.
    """
    if message == worker_pb2.ChunkGeometry():
        return StreamSpec()
    return StreamSpec(**{name: getattr(message, name) for name in _FIELDS})
