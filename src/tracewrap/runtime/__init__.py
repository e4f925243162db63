"""Pure numbers: the runtime model, its fits, denoising, roofline and cost. Knows no OpenTelemetry."""
