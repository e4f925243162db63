"""What a report computes over: loading, engines, the join as SQL, queries."""
