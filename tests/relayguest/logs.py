"""Whether the logs of forks continue the log of their template, record by record: read from the files alone."""

from __future__ import annotations

from pathlib import Path

from lab.prints.relay.frame import Frame, Framer, Stray
from lab.prints.relay.start import read_start


def frames_of(log: Path) -> list[Frame]:
    """The records of a log, with the one that its template had begun.

    The numbers continue those of the template: none is missing, none comes twice, and there is nothing between them.
    """
    start = read_start(log)
    framer = Framer()
    found = framer.feed(start.tail + log.read_bytes())
    frames = [item for item in found if isinstance(item, Frame)]
    assert not [item for item in found if isinstance(item, Stray)], f"{log}: bytes between records"
    first = start.position.sequence if start.position else 0
    assert [frame.sequence for frame in frames] == list(range(first, first + len(frames))), log
    if start.position:
        assert {frame.session for frame in frames} <= {start.position.session}, f"{log}: another session"
    return frames
