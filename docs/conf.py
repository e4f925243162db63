"""How Sphinx builds the documentation: ``make docs``."""

from __future__ import annotations

import sys
from importlib.metadata import version as _version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import reference_pages

reference_pages.write()

project = "tracewrap"
copyright = "the tracewrap authors"
release = version = _version("tracewrap")
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "tracewrap"
html_copy_source = False
myst_heading_anchors = 3
