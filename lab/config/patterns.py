"""Regular expressions in files that people write: checked where they are read, told with what is wrong with them."""

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
        # Such a one is found at the beginning of everything: no print would be the driver's any more.
        raise ValueError("matches every text, also an empty one")
    return text


#: A Python regular expression that does not match the empty text.
RegularExpression = Annotated[str, AfterValidator(_checked)]
