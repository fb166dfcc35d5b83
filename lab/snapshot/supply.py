"""Chooses the template of a fork: its own, or the base while its own is being made or where that would not pay.

The *base template* of a VM has no drivers. It is booted once, and used until the image or the VM changes. A fork of it gets the
run's drivers and clients before its first test. A run's own template is derived from the base: it has these files, and the
drivers that a test wants are loaded in it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from lab.errors import (
    ConfigError,
    GuestCrashed,
    GuestError,
    GuestHung,
    GuestLacks,
    HostToolError,
    LabError,
    ServiceError,
    SnapshotFailed,
)
from lab.host.capacity import RESERVE_MB
from lab.live.print_wiring import can_resume, why_not_forked
from lab.snapshot.fork_request import ForkFigures, ForkWish
from lab.snapshot.store import TemplateStore
from lab.snapshot.template import Template, TemplateWish
from lab.vm.spec import Clock

_LOG = logging.getLogger(__name__)

#: Deriving a template takes some three seconds of processor time in an emulated guest. It saves each fork the copying, the
#: services and the loading, which is most of that time.
WORTH_A_TEMPLATE = 4


class MakesTemplates(Protocol):
    """Makes the files of templates; see :class:`lab.snapshot.maker.TemplateMaker`."""

    def boot(self, wish: TemplateWish, key: str, folder: Path) -> None:
        """Make the template without any file of a run."""

    def derive(self, base: Template, wish: TemplateWish, key: str, folder: Path) -> None:
        """Make a template of a run's own from that one."""


class TemplateSupply:
    """The templates of one worker's forks.

    Args:
        wish: What all templates of the run have in common; its CPUs and loaded drivers are ignored.
        store: The templates.
        maker: Makes them.
        figures: Gets the notes, and what was made.
        progress: Gets a line for each step and each wait.
        memory_mb: MiB that may still be taken.
    """

    def __init__(
        self,
        wish: TemplateWish,
        store: TemplateStore,
        maker: MakesTemplates,
        figures: ForkFigures,
        *,
        progress: Callable[[str], None],
        memory_mb: Callable[[], int],
    ) -> None:
        self._common = wish
        self._store = store
        self._maker = maker
        self._figures = figures
        self._progress = progress
        self._memory_mb = memory_mb
        self._known: dict[ForkWish, Template | None] = {}
        self._bases: dict[tuple[int, Clock], Template] = {}
        self._distrusted: set[ForkWish] = set()
        self._tried: set[ForkWish] = set()
        self._keys: dict[tuple[int, Clock, tuple[str, ...], bool], str] = {}
        self._expected: dict[ForkWish, int] | None = None
        self._beside: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
        self._background: ThreadPoolExecutor | None = None
        self._making: dict[ForkWish, Future[None]] = {}
        self._closed = threading.Event()

    def expect(self, counts: Mapping[ForkWish, int], *, beside: Callable[[], AbstractContextManager[None]]) -> None:
        """See :meth:`lab.snapshot.fork_request.ForkSource.expect`."""
        self._expected, self._beside = dict(counts), beside

    def wish(self, wish: ForkWish) -> TemplateWish:
        """The request for a template that belongs to a request for a fork."""
        return self._common.of(smp=wish.smp, drivers=wish.drivers, clock=wish.clock)

    def at_hand(self, wish: ForkWish) -> Template | None:
        """The template from which a fork can start at once, without making or booting anything."""
        known = self._known.get(wish)
        if known is not None and known.exists:
            return known
        base = self._bases.get((wish.smp, wish.clock))
        return base if base is not None and base.exists and self._expected is not None else None

    def soonest(self, wish: ForkWish) -> Template | None:
        """The template for a fork: its own, or the base if its own does not exist yet; None if there can be none.

        Its own template is then made in the background, if that pays.

        Raises:
            LabError: See :meth:`own`.
        """
        known = self._known.get(wish)
        if wish in self._known and (known is None or known.exists):
            return known
        if self._own_first(wish):
            return self.own(wish)
        found = self._find(self.wish(wish))
        if found is not None:
            self._known[wish] = found
            return found
        base = self._base_for(wish)
        if base is not None:
            self._consider(wish, base)
        return base

    def own(self, wish: ForkWish) -> Template | None:
        """The template of a request, made if necessary; the base if a driver does not load; None if there can be none.

        Raises:
            LabError: A guest did not get ready; a second try may succeed.
        """
        known = self._known.get(wish)
        if wish in self._known and (known is None or known.exists):
            return known
        found = self._find(self.wish(wish))
        if found is None:
            base = self._base_for(wish)
            if base is None or self.wish(wish).is_base:
                return base
            found = self._derived(wish, base)
        self._known[wish] = found
        return found

    def distrust(self, wish: ForkWish, template: Template, reason: str) -> None:
        """Report that forks of this request did not resume: their template is removed and made again, once.

        Args:
            wish: The request.
            template: The template of the last such fork; the request's own may have been made since.
            reason: Why it did not resume.
        """
        if not template.exists:
            return  # that template was removed; forks of another one are not affected
        self._store.discard(template)
        own = self._known.get(wish)
        again = "a guest was booted instead; the template is made again"
        if own is not None and own.exists:
            again = "a guest was booted instead; the next fork uses a template of its own"
        elif wish in self._distrusted:
            self._known[wish] = None
            again = "it had already been made again, so guests are booted from now on"
        self._distrusted.add(wish)
        self._figures.note(f"forks of {template.name} did not resume ({reason}): {again}")

    def close(self) -> None:
        """Wait for a template in the making: it takes seconds, and the next run can use it. Idempotent."""
        self._closed.set()
        if self._background is not None:
            self._background.shutdown(cancel_futures=True)

    def _own_first(self, wish: ForkWish) -> bool:
        """Whether a fork waits for its own template.

        It does if later requests are unknown, and if the template pays for tests that hold the host lock: beside those, nothing
        is made in the background.
        """
        if self._expected is None:
            return True
        return wish.smp != self._common.smp and self._expected.get(wish, 0) >= WORTH_A_TEMPLATE

    def _base_for(self, wish: ForkWish) -> Template | None:
        """The base template of a VM, booted if necessary; None, from then on, if there can be none."""
        known = self._bases.get((wish.smp, wish.clock))
        if known is not None and known.exists:
            return known
        base = self.wish(wish).base()
        try:
            if not can_resume(base.manifest):
                raise SnapshotFailed(why_not_forked(base.manifest))
            found = self._find(base) or self._make(base, lambda folder: self._maker.boot(base, self._key(base), folder))
        except (ServiceError, GuestCrashed, GuestHung, GuestLacks, SnapshotFailed, OSError) as error:
            self._give_up(wish, error)
            return None
        except (GuestError, HostToolError) as error:
            if wish not in self._tried:
                # The guest was slow or was ended from outside; the caller's second try makes it again.
                self._tried.add(wish)
                raise
            self._give_up(wish, error)
            return None
        self._bases[(wish.smp, wish.clock)] = found
        return found

    def _give_up(self, wish: ForkWish, error: Exception) -> None:
        self._figures.note(f"no template can be made, so guests are booted: {_line(error)}")
        self._known[wish] = None

    def _derived(self, wish: ForkWish, base: Template) -> Template:
        """A template made from the base; the base itself if that fails."""
        template = self.wish(wish)
        names = ", ".join(wish.drivers) or "the drivers of this run"
        try:
            return self._make(template, lambda folder: self._maker.derive(base, template, self._key(template), folder))
        except ConfigError:
            raise  # the user's error: a fork of the base would not accept these files either
        except (ServiceError, GuestCrashed, GuestHung, GuestLacks) as error:
            # The driver's own failure, which its test must see: in a fork in which nothing is loaded yet.
            self._figures.note(f"{names} cannot be loaded in a template: {_line(error)}")
        except (LabError, OSError) as error:
            if not base.exists:
                # No reason to give up forks: the caller's second try makes the template again.
                raise SnapshotFailed(f"the template of {base.name} was removed while another was made from it") from error
            if isinstance(error, (GuestError, HostToolError)) and wish not in self._tried:
                self._tried.add(wish)
                raise
            self._figures.note(
                f"no template with {names} can be made, so each fork gets its own copy of the files: {_line(error)}"
            )
        return base

    def _consider(self, wish: ForkWish, base: Template) -> None:
        """Begin to make a template in the background, if that pays and nothing prevents it."""
        assert self._expected is not None
        left = self._expected.get(wish, 0)
        self._expected[wish] = max(0, left - 1)
        if left < WORTH_A_TEMPLATE or wish.smp != self._common.smp or wish in self._making or self._closed.is_set():
            return
        if self._memory_mb() < RESERVE_MB + self._common.manifest.machine.memory_mb:
            return
        if self._background is None:
            self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lab-template")
        self._making[wish] = self._background.submit(self._derive_beside, wish, base)

    def _derive_beside(self, wish: ForkWish, base: Template) -> None:
        """Runs in the background; a failure costs the run some time, and nothing else."""
        for last_try in (False, True):
            try:
                with self._beside():
                    if not self._closed.is_set():
                        self._known[wish] = self._derived(wish, base)
                return
            except (LabError, OSError) as error:
                _LOG.warning("a template was not made beside the tests: %s", _line(error), exc_info=error)
                if last_try or not base.exists or isinstance(error, ConfigError):
                    return
            except Exception:
                _LOG.exception("a template was not made beside the tests")
                return

    def _find(self, wish: TemplateWish) -> Template | None:
        """An existing template, if its guest has exactly the files of this run."""
        found = self._store.find(self._key(wish))
        if found is not None and found.files and found.files != wish.payload.sums():
            self._figures.note(f"the template of {found.name} had other files than its key says; it is made again")
            self._store.discard(found)
            return None
        return found

    def _key(self, wish: TemplateWish) -> str:
        """The key, computed once: the run's files are its own copies, and nothing else in it changes while a worker lives."""
        wanted = (wish.smp, wish.clock, wish.drivers, wish.is_base)
        if wanted not in self._keys:
            self._keys[wanted] = wish.key
        return self._keys[wanted]

    def _make(self, wish: TemplateWish, build: Callable[[Path], None]) -> Template:
        key = self._key(wish)
        template, made = self._store.make(wish.manifest.name, key, build, progress=self._progress)
        if made:
            self._figures.made[key] = template
            self._progress(f"template of {template.name} made in {template.made_s:.1f} s")
        return template


def _line(error: Exception) -> str:
    """The first line of an error's message."""
    return (error.message if isinstance(error, LabError) else str(error)).splitlines()[0]
