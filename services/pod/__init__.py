"""One worker on several ranks: rank 0 serves gRPC and is the leader, the others are followers."""

from services.pod.member import Pod, PodError, end_rank, join_pod, started_as_pod

__all__ = ["Pod", "PodError", "end_rank", "join_pod", "started_as_pod"]
