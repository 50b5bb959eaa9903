"""What every service needs around its calls: errors, health, drain, metrics, traces, logs."""
