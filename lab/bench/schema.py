"""docs/bench.schema.json: ``python -m lab.bench.schema`` writes it to standard output."""

from __future__ import annotations

import json
import sys

from lab.bench.model import BenchReport


def bench_schema() -> str:
    """The JSON Schema of bench.json, as the text of docs/bench.schema.json."""
    return json.dumps(BenchReport.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(bench_schema())
