"""Measuring a model on a device of this machine."""
