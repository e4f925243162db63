"""Analytic profiles: architectures, GPUs and stacks to seconds."""
