"""Where recorded calls come from: every source gives the same calls table.

``open_source("folder" | "file.jsonl" | "lake/" | "jaeger://host:port" | "clickhouse://...")`` returns a ``Source``; its ``load`` leaves a
table in DuckDB whose columns are those of ``CALL_COLUMNS``, unique by (trace id, span id), and says what was skipped. ``read_calls``
gives the same rows as ``Call`` records. Needs the extra ``report``.
"""

from typing import TYPE_CHECKING

from tracewrap.lazy import names_of

if TYPE_CHECKING:
    from tracewrap.sources.opening import load_all, open_source, read_calls
    from tracewrap.sources.table import CALL_COLUMNS, EVER, ReadStatus, Source, connect

__all__ = ["CALL_COLUMNS", "EVER", "ReadStatus", "Source", "connect", "load_all", "open_source", "read_calls"]
_OPENING = ("load_all", "open_source", "read_calls")
__getattr__ = names_of(__name__, {name: "opening" if name in _OPENING else "table" for name in __all__})
