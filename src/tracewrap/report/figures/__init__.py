"""The figures of a report, from the results of its queries."""
