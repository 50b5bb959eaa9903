"""Common parts of all services: errors, health, draining, metrics, traces, logs."""
