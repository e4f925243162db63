"""Join recorded calls again, with other reference stacks: raw facts are stored, estimates are derived.

python examples/04_rejoin.py CALLS_FOLDER [STACK ...]
"""

import sys

import tracewrap
from tracewrap.sources import read_calls

folder, *stacks = sys.argv[1:]
catalog = tracewrap.load_catalog(references=stacks)
for joined in tracewrap.join(read_calls(folder), catalog):
    runtime = joined.idealized_runtime
    ideal = "no idealized runtime" if runtime is None else f"idealized {runtime.value:.3f} s ({runtime.provenance})"
    print(joined.call.model, f"raw {joined.call.raw_runtime_s:.3f} s", ideal, joined.reference_stack or "")
