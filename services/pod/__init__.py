"""One worker on several ranks: rank 0 speaks gRPC and leads, the others follow its commands."""

from services.pod.member import Pod, PodError, end_rank, join_pod, started_as_pod

__all__ = ["Pod", "PodError", "end_rank", "join_pod", "started_as_pod"]
