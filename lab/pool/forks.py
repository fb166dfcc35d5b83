"""Forks for one worker: each from the template that fits, the next one made ready while a test runs on the last.

A spare is woken until it has answered its first command, and then stands still until a test wants it: it takes no processor
time then, its drivers' timers do not run, and handing it over takes some milliseconds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lab.errors import (
    FreezeFailed,
    GuestCrashed,
    GuestError,
    GuestExited,
    GuestHung,
    GuestLacks,
    HostToolError,
    LabError,
    ServiceError,
)
from lab.host.capacity import RESERVE_MB, measure
from lab.host.passed import passed_over, said
from lab.pool.forking import ForkFigures, ForkWish
from lab.pool.live import LiveGuest
from lab.pool.maketemplate import TemplateMaker
from lab.pool.sources import can_resume, why_not_forked
from lab.pool.template import Template, TemplateWish
from lab.pool.templates import TemplateStore
from lab.pool.wake import go_on, wake
from lab.vm.cleanup import RunFolder
from lab.vm.freeze import fork
from lab.vm.machine import VirtualMachine
from lab.vm.process import KeeperAtHand

_LOG = logging.getLogger(__name__)

#: A restored fork that has not run yet takes some 45 MiB, one that works 100 to 170.
SPARE_MB = 200


@dataclass(slots=True, kw_only=True)
class _Spare:
    """A fork that has answered and whose virtual CPUs stand still."""

    template: Template
    machine: VirtualMachine
    live: LiveGuest


class Forks:
    """The :class:`~lab.pool.forking.ForkSource` of real guests.

    Args:
        base: What all templates of the run have in common; its CPUs and drivers do not count.
        store: The templates.
        maker: Makes them.
        runs_dir: Where run folders are made.
        on_ready: Given each fork that answers.
        on_close: Given a run folder and whether its guest was kept, when a fork is closed: keeps evidence, removes the
            folder.
        progress: Told what is waited for.
        memory_mb: MiB that may still be taken.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        base: TemplateWish,
        store: TemplateStore,
        maker: TemplateMaker,
        *,
        runs_dir: Path,
        on_close: Callable[[RunFolder, bool], None],
        on_ready: Callable[[LiveGuest], LiveGuest] = lambda live: live,
        progress: Callable[[str], None] = lambda _text: None,
        memory_mb: Callable[[], int] = lambda: measure().memory_mb,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base = base
        self._store = store
        self._maker = maker
        self._runs_dir = runs_dir
        self._on_close = on_close
        self._on_ready = on_ready
        self._progress = progress
        self._memory_mb = memory_mb
        self._clock = clock
        self._known: dict[ForkWish, Template | None] = {}
        self._distrusted: set[ForkWish] = set()
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lab-spare")
        self._spare: Future[_Spare | None] | None = None
        self._spare_wish: ForkWish | None = None
        self._keeper = KeeperAtHand()
        self._closed = threading.Event()
        self.figures = ForkFigures()

    @property
    def image_dir(self) -> Path:
        """Folder of the image."""
        return self._base.image_dir

    @property
    def encoding(self) -> str:
        """Of the texts that the drivers print."""
        return self._base.payload.encoding(self._base.manifest.prints.encoding)

    def fork(self, guest_id: str, wish: ForkWish) -> LiveGuest | None:
        """See :class:`~lab.pool.forking.ForkSource`."""
        template = self.template(wish)
        if template is None:
            return None
        live = self._take_spare(wish, template) or self._start(guest_id, wish, template).live
        self.figures.used[template.key] = template
        with passed_over(_LOG, "no keeper is made ready: forks are closed", RuntimeError, level=logging.DEBUG):
            self._background.submit(self._keeper.refill)
        return self._on_ready(live)

    def prepare(self, guest_id: str, wish: ForkWish) -> None:
        """See :class:`~lab.pool.forking.ForkSource`."""
        template = self._known.get(wish)
        if template is None or self._closed.is_set() or (self._spare is not None and self._spare_wish == wish):
            return
        self._end_spare()
        if self._memory_mb() < RESERVE_MB + SPARE_MB:
            return
        self._spare_wish = wish
        self._spare = self._background.submit(self._prepare, guest_id, wish, template)

    def distrust(self, wish: ForkWish, reason: str) -> None:
        """See :class:`~lab.pool.forking.ForkSource`."""
        template = self._known.pop(wish, None)
        if template is None:
            return
        self._end_spare()
        if not template.exists:
            return  # it was removed, so nothing is wrong with forks of another one
        self._store.discard(template)
        again = "a guest was booted instead; the template is made anew"
        if wish in self._distrusted:
            self._known[wish] = None
            again = "it had been made anew already, so guests are booted from here on"
        self._distrusted.add(wish)
        self.figures.note(f"forks of {template.name} did not wake ({reason}): {again}")

    def template(self, wish: ForkWish) -> Template | None:
        """The template of a wish, made if need be; None when there can be none."""
        known = self._known.get(wish)
        if wish in self._known and (known is None or known.exists):
            return known
        found: Template | None = None
        base: Template | None = None
        try:
            if not can_resume(self._base.manifest):
                raise FreezeFailed(why_not_forked(self._base.manifest))
            found = self._find(self._wish(wish))
            if found is None and wish.drivers:
                base = self.template(ForkWish(wish.smp))
                found = self._load(base, self._wish(wish)) if base else None
            elif found is None:
                found = self._boot(self._wish(wish))
        except (ServiceError, GuestCrashed, GuestHung, GuestLacks) as error:
            if base is None:
                self.figures.note(f"no template can be made, guests are booted: {_line(error)}")
            else:
                # The driver's own doing, which the test must meet itself: in a fork in which nothing is loaded yet.
                self.figures.note(f"{', '.join(wish.drivers)} cannot be loaded in a template: {_line(error)}")
                found = base
        except (GuestError, HostToolError) as error:
            if wish not in self._distrusted:
                # Something ended the guest, or it was slow; once more, by the caller's second try.
                self._distrusted.add(wish)
                raise
            self.figures.note(f"no template can be made, guests are booted: {_line(error)}")
        except (FreezeFailed, OSError) as error:
            if base is not None and not base.exists:
                # No reason to do without forks from here on: the caller's second try makes it anew.
                raise FreezeFailed(f"the template of {base.name} was removed while another was made from it") from error
            self.figures.note(f"no template can be made, guests are booted: {_line(error)}")
        self._known[wish] = found
        return found

    def close(self) -> None:
        """See :class:`~lab.pool.forking.ForkSource`."""
        self._closed.set()
        self._end_spare()
        self._background.shutdown()
        self._keeper.close()

    def _wish(self, wish: ForkWish) -> TemplateWish:
        return self._base.of(smp=wish.smp, drivers=wish.drivers)

    def _find(self, wish: TemplateWish) -> Template | None:
        """A template that is there already, if its guest had the very files of this run."""
        found = self._store.find(wish.key)
        if found is not None and found.files and found.files != wish.payload.sums():
            self.figures.note(f"the template of {found.name} had other files than its key says: it is made anew")
            self._store.discard(found)
            return None
        return found

    def _boot(self, wish: TemplateWish) -> Template:
        key = wish.key
        return self._make(wish, key, lambda folder: self._maker.boot(wish, key, folder))

    def _load(self, base: Template, wish: TemplateWish) -> Template:
        key = wish.key
        return self._make(wish, key, lambda folder: self._maker.load(base, wish, key, folder))

    def _make(self, wish: TemplateWish, key: str, build: Callable[[Path], None]) -> Template:
        template, made = self._store.make(wish.manifest.name, key, build, progress=self._progress)
        if made:
            self.figures.made[key] = template.made_s
            self._progress(f"template of {template.name} made in {template.made_s:.1f} s")
        return template

    def _start(self, guest_id: str, wish: ForkWish, template: Template) -> _Spare:
        begin = self._clock()
        folder = RunFolder.create(self._runs_dir, guest_id)
        machine: VirtualMachine | None = None
        waiting = self._keeper.take()
        try:
            machine = fork(template.frozen(), template.folder, folder.path, name=guest_id, waiting=waiting)
            live = wake(
                machine,
                template,
                self._wish(wish),
                guest_id=guest_id,
                begin=begin,
                on_close=lambda kept: self._on_close(folder, kept),
            )
        except BaseException:
            self.figures.failed += 1
            _LOG.warning("%s: a fork of %s did not wake", guest_id, template.name, exc_info=True)
            if waiting is not None:
                waiting.close()
            if machine is not None:
                with passed_over(_LOG, f"{guest_id}: the machine of a fork that did not wake", LabError):
                    if machine.alive:
                        machine.kill()
                machine.close()
            self._on_close(folder, False)
            raise
        return _Spare(template=template, machine=machine, live=live)

    def _prepare(self, guest_id: str, wish: ForkWish, template: Template) -> _Spare | None:
        """In the background: what fails here, in whatever way, is tried again and told where the fork is needed."""
        with passed_over(_LOG, f"{guest_id}: no fork stands ready", Exception):
            spare = self._start(guest_id, wish, template)
            try:
                spare.machine.pause()
            except BaseException:
                spare.live.close()
                raise
            return spare
        return None

    def _take_spare(self, wish: ForkWish, template: Template) -> LiveGuest | None:
        if self._spare is None or self._spare_wish != wish:
            self._end_spare()
            return None
        spare, self._spare = self._spare.result(), None
        if spare is None:
            return None
        try:
            if spare.template != template or not spare.live.alive:
                raise GuestExited("the spare is of no use any more")
            go_on(spare.machine, spare.live)
        except (LabError, OSError) as error:
            _LOG.info("%s: the fork that stood ready is given up: %s", spare.live.guest_id, said(error))
            spare.live.close()
            return None
        return spare.live

    def _end_spare(self) -> None:
        future, self._spare = self._spare, None
        spare = future.result() if future is not None else None
        if spare is not None:
            # Nobody says goodbye to a guest whose CPUs stand still: it would not answer.
            with passed_over(_LOG, f"{spare.live.guest_id}: a fork that nobody took", LabError, OSError):
                spare.machine.kill()
            spare.live.close()


def _line(error: Exception) -> str:
    """The first line of what happened."""
    return (error.message if isinstance(error, LabError) else str(error)).splitlines()[0]
