"""Every format of a report."""
