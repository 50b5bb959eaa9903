"""Definitions of the chart's Grafana dashboards."""
