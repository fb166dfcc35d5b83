"""Forks for one worker: each comes from the template that fits, and the next one is prepared while a test runs.

A spare fork runs until it has answered its first command, and is then paused until a test needs it. Paused, it takes no
processor time, its drivers' timers do not run, and it is ready within some milliseconds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

from lab.errors import GuestExited, LabError
from lab.host.capacity import RESERVE_MB, measure
from lab.host.passed import passed_over, said
from lab.live.guest import LiveGuest
from lab.snapshot.fork_maker import FORK_STEPS, ForkMaker, ForkSteps, MadeFork
from lab.snapshot.fork_request import ForkFigures, ForkWish
from lab.snapshot.store import TemplateStore
from lab.snapshot.supply import MakesTemplates, TemplateSupply
from lab.snapshot.template import Template, TemplateWish
from lab.vm.cleanup import RunFolder

_LOG = logging.getLogger(__name__)

#: A restored fork takes some 45 MiB before it runs, and 100 to 170 MiB while it works.
SPARE_MB = 200


class Forks:
    """The :class:`~lab.snapshot.fork_request.ForkSource` of real guests.

    Args:
        base: What all templates of the run have in common; its CPUs and drivers are ignored.
        store: The templates.
        maker: Makes them.
        runs_dir: Folder in which run folders are made.
        on_ready: Called with each fork that answers.
        on_close: Called when a fork is closed, with its run folder and whether its guest keeps running; saves evidence and
            removes the folder.
        progress: Gets a line for each wait.
        memory_mb: MiB that may still be taken.
        steps: What is done to a fork's VM and guest.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        base: TemplateWish,
        store: TemplateStore,
        maker: MakesTemplates,
        *,
        runs_dir: Path,
        on_close: Callable[[RunFolder, bool], None],
        on_ready: Callable[[LiveGuest], LiveGuest] = lambda live: live,
        progress: Callable[[str], None] = lambda _text: None,
        memory_mb: Callable[[], int] = lambda: measure().memory_mb,
        steps: ForkSteps = FORK_STEPS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base = base
        self._on_ready = on_ready
        self._memory_mb = memory_mb
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lab-spare")
        self._spare: Future[MadeFork | None] | None = None
        self._spare_wish: ForkWish | None = None
        self._closed = threading.Event()
        #: The template of the last fork, if that fork did not resume.
        self._suspect: Template | None = None
        #: The last fork did resume, but the run's files could not be copied into it.
        self._undelivered = False
        self.figures = ForkFigures()
        self._supply = TemplateSupply(base, store, maker, self.figures, progress=progress, memory_mb=memory_mb)
        self._fork_maker = ForkMaker(base, self.figures, runs_dir=runs_dir, on_close=on_close, steps=steps, clock=clock)

    @property
    def image_dir(self) -> Path:
        """Folder of the image."""
        return self._base.image_dir

    @property
    def encoding(self) -> str:
        """Encoding of the texts that the drivers print."""
        return self._base.payload.encoding(self._base.manifest.prints.encoding)

    def fork(self, guest_id: str, wish: ForkWish) -> LiveGuest | None:
        """See :class:`~lab.snapshot.fork_request.ForkSource`."""
        self._suspect, self._undelivered = None, False
        template = self._supply.soonest(wish)
        if template is None:
            return None
        made = self._take_spare(wish)
        if made is None:
            self._suspect = template
            made = self._fork_maker.resumed(guest_id, self._supply.wish(wish), template)
            self._suspect, self._undelivered = None, True
            self._fork_maker.deliver(made)
            self._undelivered = False
        self.figures.used[made.template.key] = made.template
        with passed_over(_LOG, "no supervisor is started in advance: forks are closed", RuntimeError, level=logging.DEBUG):
            self._background.submit(self._fork_maker.refill)
        return self._on_ready(made.live)

    def expect(self, counts: Mapping[ForkWish, int], *, beside: Callable[[], AbstractContextManager[None]]) -> None:
        """See :class:`~lab.snapshot.fork_request.ForkSource`."""
        self._supply.expect(counts, beside=beside)

    def prepare(self, guest_id: str, wish: ForkWish) -> None:
        """See :class:`~lab.snapshot.fork_request.ForkSource`."""
        template = self._supply.at_hand(wish)
        if template is None or self._closed.is_set() or (self._spare is not None and self._spare_wish == wish):
            return
        self._end_spare()
        if self._memory_mb() < RESERVE_MB + SPARE_MB:
            return
        self._spare_wish = wish
        self._spare = self._background.submit(self._prepare, guest_id, wish, template)

    def distrust(self, wish: ForkWish, reason: str) -> None:
        """See :class:`~lab.snapshot.fork_request.ForkSource`."""
        self._end_spare()
        if self._suspect is not None:
            self._supply.distrust(wish, self._suspect, reason)
        elif self._undelivered:
            # Their template is not the cause.
            self.figures.note(f"files could not be copied into forks ({reason}), so a guest was booted instead")

    def template(self, wish: ForkWish) -> Template | None:
        """The template of a request, made if necessary; None if there can be none."""
        return self._supply.own(wish)

    def close(self) -> None:
        """See :class:`~lab.snapshot.fork_request.ForkSource`."""
        self._closed.set()
        self._end_spare()
        self._background.shutdown()
        self._supply.close()
        self._fork_maker.close()

    def _prepare(self, guest_id: str, wish: ForkWish, template: Template) -> MadeFork | None:
        """Runs in the background. A failure is not reported here: it is tried again when the fork is needed."""
        with passed_over(_LOG, f"{guest_id}: no fork is ready", Exception):
            spare = self._fork_maker.resumed(guest_id, self._supply.wish(wish), template)
            self._fork_maker.deliver(spare)
            try:
                spare.machine.pause()
            except BaseException:
                spare.live.close()
                raise
            return spare
        return None

    def _take_spare(self, wish: ForkWish) -> MadeFork | None:
        if self._spare is None or self._spare_wish != wish:
            self._end_spare()
            return None
        spare, self._spare = self._spare.result(), None
        if spare is None:
            return None
        try:
            if not spare.live.alive:
                raise GuestExited("the spare fork is not needed any more")
            self._fork_maker.continue_guest(spare)
        except (LabError, OSError) as error:
            _LOG.info("%s: the ready fork is discarded: %s", spare.live.guest_id, said(error))
            spare.live.close()
            return None
        return spare

    def _end_spare(self) -> None:
        future, self._spare = self._spare, None
        spare = future.result() if future is not None else None
        if spare is not None:
            spare.end()
