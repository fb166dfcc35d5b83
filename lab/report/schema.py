"""docs/run.schema.json: ``python -m lab.report.schema`` writes it to standard output."""

from __future__ import annotations

import json
import sys

from lab.report.model import RunReport


def run_schema() -> str:
    """The JSON Schema of run.json, as the text of docs/run.schema.json."""
    return json.dumps(RunReport.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(run_schema())
