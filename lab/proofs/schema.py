"""docs/proofs.schema.json: ``python -m lab.proofs.schema`` writes it to standard output."""

from __future__ import annotations

import json
import sys

from lab.proofs.record import ProofRecord


def proofs_schema() -> str:
    """The JSON Schema of ``proofs.json``, as the text of docs/proofs.schema.json."""
    return json.dumps(ProofRecord.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(proofs_schema())
