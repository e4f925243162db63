"""What PyInstaller does not see in import statements: modules that are imported by name, data files, the package's own metadata.

A frozen program records its calls. What reports and measurements need is left out, unless the program imports it too: it would be hundreds
of megabytes. Without numpy and scipy nothing is learned live; reports learn from the span log.
"""

from PyInstaller.utils.hooks import collect_submodules, copy_metadata

from tracewrap import _HOMES
from tracewrap.runtime.files import reference_folder

hiddenimports = [
    *collect_submodules("tracewrap.vendors"),
    *(f"tracewrap.{home}" for home in sorted(set(_HOMES.values()))),
    "encodings.idna",
]
excludedimports = [
    *("numpy", "scipy", "pandas", "polars", "pyarrow", "duckdb", "sqlglot", "rich", "jinja2"),
    *("torch", "transformers", "pyspark", "chdb", "xllamacpp", "pynvml"),
]
datas = [(str(reference_folder()), "tracewrap/reference_profiles"), *copy_metadata("tracewrap")]
