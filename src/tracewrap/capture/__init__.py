"""The hot path: what runs inside a user's call. Two clock reads, one adapter call, one span; never raises, never estimates."""
