"""Fitting a runtime profile from few queries, and designing the queries."""
