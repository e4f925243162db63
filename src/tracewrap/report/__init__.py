"""Reports: queries over the calls table, the join as SQL, figures, and every format of them."""

from tracewrap.report.model import SCHEMA, Report
from tracewrap.report.nightly import build

__all__ = ["SCHEMA", "Report", "build"]
