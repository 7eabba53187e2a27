"""What a running process tells about itself: log lines, trace ids and metrics, never a secret."""
