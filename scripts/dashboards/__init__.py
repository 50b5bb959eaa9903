"""What the Grafana dashboards of the chart are made of."""
