"""What a running process tells about itself: figures, health and readiness. Nothing of any call."""
