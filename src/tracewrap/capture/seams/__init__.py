"""Where calls are seen: an SDK's method, an HTTP client or transport, one call in several requests, results of batches."""
