"""Questions about calls besides the report: compare, what-if, checks."""
