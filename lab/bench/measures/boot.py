"""From nothing to the first answered command: cold boots against forks."""

from __future__ import annotations

from lab.bench.measures.winrm import PROGRAM
from lab.bench.protocol import Context, NotHere
from lab.bench.samples import Samples, Series

_TIMEOUT_S = 60.0


class BootMeasure:
    """Both count from the start of QEMU until `cmd` in the guest has answered over WinRM, as a lab run does."""

    name = "boot"
    title = "a fresh guest, until it has answered its first command"
    needs = "guests one after the other; two minutes"

    def run(self, context: Context) -> Samples:
        """Boot some, fork many."""
        cold = []
        for turn in range(context.repeat(3, 1, most=5)):
            context.detail(f"cold boot {turn + 1}")
            with context.boot(f"bench-cold-{turn + 1}") as guest:
                cold.append(guest.boot_s)
        series = [Series(key="boot.cold", label="cold boot", unit="s", values=tuple(cold), baseline=True)]
        try:
            forks = context.forks()
            context.detail("template")
            begin = context.clock()
            forks.take_snapshot()
            made_s = context.clock() - begin
            forked, worked = [], []
            for turn in range(context.repeat(20, 3)):
                context.detail(f"fork {turn + 1}")
                guest = forks.fork(f"bench-fork-{turn + 1}")
                try:
                    forked.append(guest.boot_s)
                    begin = context.clock()
                    guest.transport.run([PROGRAM, "tick"], timeout=_TIMEOUT_S, shell=False)
                    worked.append(guest.boot_s + context.clock() - begin)
                finally:
                    guest.close()
        except NotHere as error:
            return Samples(series=tuple(series), notes=(f"fork: {error.message}",))
        series += [
            Series(key="boot.fork", label="fork", unit="s", values=tuple(forked), reference="boot.cold"),
            Series(
                key="boot.fork.program",
                label="fork, until a new program has answered",
                unit="s",
                values=tuple(worked),
                reference="boot.cold",
            ),
        ]
        notes = (
            "a fork's first command is answered by a `cmd` that was waiting in the template; a cold boot has to start one",
            f"the template was ready after {made_s:.1f} s; it is made once, and may have been there",
        )
        return Samples(series=tuple(series), notes=notes)
