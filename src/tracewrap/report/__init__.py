"""Reports: queries over the calls table, the join as SQL, figures, and every format of them."""

from tracewrap.report.building import build
from tracewrap.report.render.notebook import BuiltReport
from tracewrap.report.schema import SCHEMA, Report

__all__ = ["SCHEMA", "BuiltReport", "Report", "build"]
