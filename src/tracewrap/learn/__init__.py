"""Denoised profiles learned from the program's own calls, in the background."""
