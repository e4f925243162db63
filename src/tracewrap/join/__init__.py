"""In the background: calls beside their estimates. ``join`` is pure; the exporter runs it on the batch processor's thread."""
