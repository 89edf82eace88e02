"""Load and the latency gate. They come once there is more than one target to measure."""
