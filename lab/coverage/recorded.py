"""What workers write about the counters of a test, a line of JSON for each driver."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from lab.coverage.gcda import Counters


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SourceCounters(_Model):
    """The counters of one source; see :class:`lab.coverage.gcda.Counters`."""

    version: int
    stamp: int
    checksum: int
    functions: list[tuple[int, int, int, list[int]]]

    @classmethod
    def of(cls, counters: Counters) -> SourceCounters:
        """The same as a model."""
        functions = [(*function, list(counts)) for function, counts in counters.counts.items()]
        return cls(version=counters.version, stamp=counters.stamp, checksum=counters.checksum, functions=functions)

    @property
    def counters(self) -> Counters:
        """The counters."""
        counts = {(ident, lines, graph): tuple(values) for ident, lines, graph, values in self.functions}
        return Counters(self.version, self.stamp, self.checksum, counts)


class TestCounters(_Model):
    """How often the code of a driver ran in one execution of a test, or why that is not known."""

    #: Not a test class, whatever its name begins with.
    __test__ = False

    nodeid: str
    driver: str = Field(default="", description="empty in an entry that says why counters are missing")
    sources: dict[str, SourceCounters] = Field(default_factory=dict, description="name of a note file → its counters")
    lost: str = Field(default="", description="why counters of the test are missing; those until then are there")

    @classmethod
    def of(cls, nodeid: str, driver: str, counters: Mapping[str, Counters]) -> TestCounters:
        """The counters of one driver."""
        sources = {name: SourceCounters.of(one) for name, one in counters.items() if one.counts}
        return cls(nodeid=nodeid, driver=driver, sources=sources)

    @property
    def counters(self) -> dict[str, Counters]:
        """Name of a note file → its counters."""
        return {name: one.counters for name, one in self.sources.items()}
