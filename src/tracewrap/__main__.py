"""``python -m tracewrap``."""

from tracewrap.cli import main

raise SystemExit(main())
