"""The forecaster as a process, and its training: Prometheus and files in, TrafficForecasts and files out."""
