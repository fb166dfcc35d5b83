"""The lab file (`lab.yaml`): its typed model, and a reader whose errors name file, key and line.

May import lab.host and lab.errors.
"""

from __future__ import annotations

from lab.config.model import KnownIssue, LabFile
from lab.config.settings import Settings, load_settings

__all__ = ["KnownIssue", "LabFile", "Settings", "load_settings"]
