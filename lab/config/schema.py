"""docs/lab.schema.json: ``python -m lab.config.schema`` writes it to standard output."""

from __future__ import annotations

import json
import sys

from lab.config.model import LabFile


def lab_schema() -> str:
    """The JSON Schema of a lab file, as the text of docs/lab.schema.json."""
    return json.dumps(LabFile.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(lab_schema())
