"""Measuring an API within a budget."""
