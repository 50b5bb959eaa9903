"""Four programs that meet on the wire, and one that starts them all on this machine."""

import os

# Read when gRPC is first imported. It writes a line of its own to standard error for every TLS
# connection that fails: in the logs of a service as often as a stranger likes.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

# Read when torch first computes and allocates. Threads that spin while they wait take the cores of
# the services beside them, but to sleep between any two small kernels costs a third of a chunk: a
# few microseconds are spun. Pages of 4 KiB cost more than what is written to them.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
