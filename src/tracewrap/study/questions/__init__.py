"""The ten questions that the method leaves open, each answered by a short page that a command prints: one file a question."""
