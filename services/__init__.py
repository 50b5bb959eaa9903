"""Four services that communicate over gRPC, and a program that starts all of them locally."""

import os

# Read when gRPC is first imported. Without it, gRPC prints a line to standard error for every
# failed TLS connection, so that any client could fill the logs.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

# Read when torch first computes and allocates. Threads that spin while waiting take cores from the
# other services, but sleeping between small kernels costs a third of a chunk: they spin for a few
# microseconds. Faults of 4 KiB pages cost more than writing the pages.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
