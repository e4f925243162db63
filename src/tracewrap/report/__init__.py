"""Reports: queries over the calls table, the join as SQL, figures, and every format of them."""

from typing import TYPE_CHECKING

from tracewrap.lazy import names_of

if TYPE_CHECKING:
    from tracewrap.report.building import build
    from tracewrap.report.render.notebook import BuiltReport
    from tracewrap.report.schema import SCHEMA, Report

__all__ = ["SCHEMA", "BuiltReport", "Report", "build"]
__getattr__ = names_of(
    __name__, {"build": "building", "BuiltReport": "render.notebook", "SCHEMA": "schema", "Report": "schema"}
)
