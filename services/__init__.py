"""Four programs that meet on the wire, and one that starts them all on this machine."""

import os

# Read when gRPC is first imported. It writes a line of its own to standard error for every TLS
# connection that fails: in the logs of a service as often as a stranger likes.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
