"""In the background: calls beside their estimates. ``joiner`` is pure; the exporter runs it on the exporting thread."""
