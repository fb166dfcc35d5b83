"""Counters of a small program that is compiled for the host as drivers are: GCC is the same, and nothing needs a guest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lab.coverage.gcda import Counters
from lab.coverage.records import LoadRecord, State
from lab.host.process import run
from lab.toolchain.files import sha256_of
from lab.toolchain.instrument import Notes, counter_flags

#: Line numbers matter. `sum` runs its loop `n` times, and adds each second number.
SOURCE = """\
int sum(int n);
int never(void);
int never(void)
{
    return 3;
}
int sum(int n)
{
    int all = 0;
    for (int i = 0; i < n; i++)
        if (i & 1)
            all += i;
    return all;
}
"""
_MAIN = """\
#include <stdio.h>
#include <stdlib.h>
struct gcov_info;
void __gcov_info_to_gcda(const struct gcov_info *, void (*)(const char *, void *), void (*)(const void *, unsigned, void *),
                         void *(*)(unsigned, void *), void *);
extern const struct gcov_info *const __start_labcov[], *const __stop_labcov[];
static void name(const char *text, void *to) { (void)text; (void)to; }
static void dump(const void *bytes, unsigned count, void *to) { fwrite(bytes, 1, count, (FILE *)to); }
static void *allocate(unsigned size, void *to) { (void)size; (void)to; return NULL; }
int sum(int);
int main(int count, char **words)
{
    for (int i = 2; i < count; i++)
        sum(atoi(words[i]));
    FILE *file = fopen(words[1], "wb");
    for (const struct gcov_info *const *info = __start_labcov; info < __stop_labcov; info++)
        __gcov_info_to_gcda(*info, name, dump, allocate, file);
    return fclose(file);
}
"""


@dataclass(frozen=True, slots=True)
class Counting:
    """The program and its notes."""

    program: Path
    source: Path
    notes: Notes

    def run(self, *numbers: int) -> Counters:
        """The counters of one run that calls `sum` for each number."""
        file = self.program.with_name("counters.bin")
        run([self.program, file, *map(str, numbers)], 30)
        return Counters.parse(file.read_bytes())


def build(folder: Path) -> Counting:
    """Compile the program with the options that a driver gets; only the section has another name, as ELF has no ``$`` there."""
    source, main, program = folder / "sum.c", folder / "main.c", folder / "program"
    source.write_text(SOURCE, encoding="ascii")
    main.write_text(_MAIN, encoding="ascii")
    flags = [
        "-fprofile-info-section=labcov" if flag.startswith("-fprofile-info-section") else flag
        for flag in counter_flags(0, folder, folder)
    ]
    run(["gcc", "-O2", *flags, "-c", source.name, "-o", str(folder / "sum.o")], 60, cwd=folder)
    run(["gcc", "-O2", main.name, str(folder / "sum.o"), "-lgcov", "-o", str(program)], 60, cwd=folder)
    notes = Notes(
        driver="sum",
        gcov="gcov",
        folder=folder,
        files={"0.gcno": (folder / "0.gcno").read_bytes()},
        sources={str(source.resolve()): sha256_of(source)},
        names={str(source): str(source.resolve())},
        texts={str(source.resolve()): source.read_bytes()},
    )
    return Counting(program, source, notes)


def load(number: int, counters: Counters, state: State = State.UNLOADED, driver: str = "sum") -> LoadRecord:
    """A record of the collector."""
    return LoadRecord(driver, number, state, {"0.gcno": counters})
