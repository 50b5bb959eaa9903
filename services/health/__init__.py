"""A probe that checks whether a service on this machine reports SERVING."""
