"""The live view of a span log."""
