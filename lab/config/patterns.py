"""Regular expressions in users' files: checked when they are read, with an error that says what is wrong."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator


def _checked(text: str) -> str:
    try:
        compiled = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is not a regular expression ({error})") from None
    if compiled.match(""):
        # Such a pattern matches every print, so that no print would be the driver's.
        raise ValueError("matches every text, also an empty one")
    return text


#: A Python regular expression that does not match the empty text.
RegularExpression = Annotated[str, AfterValidator(_checked)]
