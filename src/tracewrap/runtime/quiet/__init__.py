"""The quiet day from noisy traffic: what a usable call is, the fit, levels over time, drift."""
