"""docs/compare.schema.json: ``python -m lab.compare.schema`` writes it to standard output."""

from __future__ import annotations

import json
import sys

from lab.compare.model import Comparison


def compare_schema() -> str:
    """The JSON Schema of `lab compare --json`, as the text of docs/compare.schema.json."""
    return json.dumps(Comparison.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(compare_schema())
