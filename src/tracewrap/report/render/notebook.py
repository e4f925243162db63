"""A report in Python's hands: a dictionary that a notebook shows, and frames of its rows."""

from __future__ import annotations

import copy
import html
from typing import Any, cast

from tracewrap.errors import MissingExtraError
from tracewrap.report.render.columns import columns, group_name
from tracewrap.report.render.rows import flat_rows
from tracewrap.report.schema import Report


class BuiltReport(dict[str, Any]):
    """The report as plain JSON values (``report.schema.Report``), with what a notebook wants of it."""

    @property
    def data(self) -> Report:
        """The same dictionary, by its type."""
        return cast(Report, self)

    def to_dict(self) -> Report:
        """A plain dictionary of its own."""
        return cast(Report, copy.deepcopy(dict(self)))

    def to_pandas(self) -> Any:
        """One row a group, totals first, a column a figure; MissingExtraError without pandas."""
        try:
            import pandas
        except ImportError:
            raise MissingExtraError("to_pandas() needs pandas: pip install pandas") from None
        return pandas.DataFrame(flat_rows(self.data))

    def to_polars(self) -> Any:
        """One row a group, totals first, a column a figure; MissingExtraError without polars."""
        try:
            import polars
        except ImportError:
            raise MissingExtraError("to_polars() needs polars: pip install polars") from None
        return polars.DataFrame(flat_rows(self.data), infer_schema_length=None)

    def _repr_html_(self) -> str:
        """The verdict and the first table, for a notebook; the whole page is ``tracewrap report -o page.html``."""
        report = self.data
        shown = columns(report)
        grouping = report["groups"][0] if report["groups"] else {"by": [], "rows": [], "more_rows": 0}
        rows = [*grouping["rows"][:20], report["totals"]]
        head = "".join(f"<th>{html.escape(column.name)}</th>" for column in shown)
        body = "".join(
            f"<tr><th>{html.escape(group_name(row))}</th>"
            + "".join(f"<td>{html.escape(column.text(row))}</td>" for column in shown)
            + "</tr>"
            for row in rows
        )
        by = html.escape(" and ".join(grouping["by"]))
        return f"<p>{html.escape(report['verdict'])}</p><table><tr><th>{by}</th>{head}</tr>{body}</table>"
