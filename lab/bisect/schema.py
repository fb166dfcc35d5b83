"""docs/bisect.schema.json: ``python -m lab.bisect.schema`` writes it to standard output."""

from __future__ import annotations

import json
import sys

from lab.bisect.model import BisectLog


def bisect_schema() -> str:
    """The JSON Schema of ``bisect.json``, as the text of docs/bisect.schema.json."""
    return json.dumps(BisectLog.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(bisect_schema())
