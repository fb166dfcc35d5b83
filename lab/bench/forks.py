"""The lab's forks for the bench: without drivers, from the template that `lab run` would use."""

from __future__ import annotations

from lab.bench.protocol import NotHere
from lab.errors import LabError
from lab.lease.image_source import ImageSource, with_forks
from lab.live.guest import LiveGuest
from lab.snapshot.fork_request import ForkWish
from lab.snapshot.forks import Forks
from lab.snapshot.store import TemplateStore


class TemplateForks:
    """A :class:`lab.bench.protocol.Forks`.

    Args:
        forks: Makes them.
        smp: Virtual CPUs of each.
    """

    def __init__(self, forks: Forks, smp: int) -> None:
        self._forks = forks
        self._wish = ForkWish(smp)

    def take_snapshot(self) -> None:
        """Make the template, unless it is there already.

        Raises:
            NotHere: This host cannot make one.
        """
        if self._forks.template(self._wish) is None:
            raise NotHere("; ".join(self._forks.figures.notes) or "no template can be made here")

    def fork(self, guest_id: str) -> LiveGuest:
        """A new guest, resumed and answering."""
        guest = self._forks.fork(guest_id, self._wish)
        if guest is None:
            raise LabError("; ".join(self._forks.figures.notes) or "there is no template to fork from")
        return guest

    def close(self) -> None:
        """End what was prepared."""
        self._forks.close()


def template_forks(source: ImageSource, store: TemplateStore) -> TemplateForks:
    """Forks of a source's image.

    Args:
        source: Boots guests.
        store: Where templates are.

    Raises:
        NotHere: This QEMU can make none.
    """
    forking = with_forks(source, store)
    if forking.forks is None:
        raise NotHere(f"no snapshot can be taken: {forking.no_forks}", hint="`lab doctor` says more")
    return TemplateForks(forking.forks, source.manifest.machine.smp)
