"""In the background: calls beside their estimates. ``join`` is pure; the exporter runs it on the batch processor's thread.

The room and the public function share a name: ``tracewrap.join(calls, catalog)`` calls this module, whichever of the two was imported
first.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracewrap.join.catalog import Catalog
    from tracewrap.join.list_cost import Pricer
    from tracewrap.records import Call, JoinedCall


class _Room(ModuleType):
    def __call__(self, calls: Iterable[Call], catalog: Catalog, pricer: Pricer | None = None) -> Iterator[JoinedCall]:
        """Each of *calls* beside its estimates; see ``joiner.join``."""
        from tracewrap.join.joiner import join

        return join(calls, catalog, pricer)


sys.modules[__name__].__class__ = _Room
