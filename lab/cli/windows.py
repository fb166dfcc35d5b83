"""`lab windows prove`: prove the statements about Windows that the lab relies on, on a real guest."""

from __future__ import annotations

import contextlib
import datetime
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from filelock import FileLock, Timeout

from lab.cli.image import build
from lab.cli.interrupt import told_when_interrupted
from lab.cli.invocation import with_own_command
from lab.errors import ConfigError, ImageError
from lab.gate.exitcode import INFRA, NOTHING, OK
from lab.host.accel import QEMU, choose_accelerator, probe_accelerators
from lab.host.console import is_terminal
from lab.host.paths import cache_dir, make_folder, runs_dir
from lab.host.qemu import qemu_version
from lab.image.folder import read_credentials, read_manifest
from lab.image.manifest import Credentials, ImageManifest
from lab.image.progress import Progress, open_progress
from lab.image.recipes import existing_image
from lab.proofs.bench import ImageBench
from lab.proofs.catalogue import about_image, chosen, statements
from lab.proofs.failed_build import failed_build
from lab.proofs.guests import ImageGuests
from lab.proofs.keeper import RecordFolder
from lab.proofs.markdown import counted
from lab.proofs.record import ProofRecord, Row, Subject, read_record
from lab.proofs.redact import Redactor
from lab.proofs.session import Listener, ProvingBench, open_statements, prove
from lab.proofs.statement import Outcome, Statement, decided, not_reached, refuted
from lab.proofs.ways import Ask
from lab.vm.cleanup import sweep

_KIND = "windows"
_ALL, _REFUTED = "all", "refuted"
_NOW = "%Y-%m-%dT%H:%M:%SZ"


def register(app: typer.Typer) -> None:
    """Add the commands of `lab windows`."""
    group = typer.Typer(no_args_is_help=True, help="Windows guests: prove what the lab relies on.")
    group.command("prove")(prove_image)
    group.command("statements")(list_statements)
    app.add_typer(group, name="windows")


def prove_image(
    name: Annotated[str, typer.Argument(metavar="IMAGE", help="A built Windows image: name, name and key, or folder")],
    iso: Annotated[
        Path | None, typer.Option("--iso", metavar="PATH", help="If the image is not built yet, build it from this Windows ISO")
    ] = None,
    product_key_file: Annotated[
        Path | None, typer.Option("--product-key-file", metavar="PATH", help="For that build: file with your product key")
    ] = None,
    allow_tcg: Annotated[bool, typer.Option("--allow-tcg", help="For that build: install even without KVM")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the record; default: out/proofs-IMAGE")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Prove only this statement; may be repeated")
    ] = None,
    again: Annotated[
        list[str] | None,
        typer.Option("--again", metavar="NAME", help="Prove it once more: a name, refuted, or all; may be repeated"),
    ] = None,
    no_questions: Annotated[
        bool, typer.Option("--no-questions", help="Ask nothing, even in a terminal: such statements are not reached")
    ] = False,
) -> None:
    """Prove the statements about Windows that the lab relies on, on guests of an image.

    The record is proofs.json, for programs, and proofs.md, for readers; it has no names, passwords and product keys, so that it
    can be sent in. It is written after each statement, and the same command goes on after an interrupt: what is proved or
    refuted is not proved again. With --iso, a failed build of the image is recorded, too.

    Ends with 0: every statement about this Windows is proved, 2: wrong usage, 5: some were not reached, 10: Windows refuted
    one, or the lab failed, 130: interrupted.
    """
    if iso is not None:
        _build_first(name, out, iso=iso, product_key_file=product_key_file, allow_tcg=allow_tcg)
    image = existing_image(name)
    manifest = read_manifest(image)
    if manifest.kind != _KIND:
        raise ConfigError(f"{image.name} is no Windows image, but {manifest.guest}", hint="`lab image list` lists the images")
    catalogue = about_image(manifest.name, statements())
    # One that is named is reported on, also if it is about another Windows.
    wanted = chosen(only, statements()) if only else catalogue
    chosen([one for one in again or () if one not in (_ALL, _REFUTED)], statements())
    where = _record_folder(out, image.name)
    with _alone(where):
        sweep(runs_dir())
        folder = RecordFolder(where, Redactor.here(read_credentials(image)), catalogue)
        with told_when_interrupted(lambda: f"answers so far: {folder.answered}, in {folder.file}; the same command goes on"):
            benches = Benches(image, manifest, where / "runs", questions=not no_questions and _person())
            record = _prove_all(benches, folder, wanted, frozenset(again or ()))
    raise typer.Exit(_end(record, wanted, folder))


def _build_first(name: str, out: Path | None, **options: Any) -> None:
    """Build the image, unless it is there, and record a failure.

    Raises:
        LabError: The build failed.
    """
    try:
        build(name, **options)
    except ImageError as error:
        folder = _record_folder(out, name)
        with _alone(folder):
            catalogue = statements()
            accelerator = choose_accelerator("auto", probe_accelerators(cache_dir()))
            now = datetime.datetime.now(datetime.UTC)
            record = failed_build(error, name, catalogue, accelerator=accelerator, qemu=qemu_version(QEMU), now=now)
            keeper = RecordFolder(folder, Redactor.here(Credentials(username="", password="")), catalogue)
            keeper.save_failed_build(record)
        typer.echo(f"the failed build is recorded:\n  {keeper.file}\n  {keeper.page}")
        raise


def _record_folder(out: Path | None, image: str) -> Path:
    return make_folder((out or Path("out") / f"proofs-{image}").absolute(), "record", hint="give another one with --out")


def list_statements(
    record: Annotated[
        Path | None, typer.Argument(metavar="[RECORD]", help="A proofs.json: shows what became of each statement")
    ] = None,
) -> None:
    """List the statements, each with its name and its proof by hand."""
    known = read_record(record) if record else None
    for one in statements():
        row = known.row(one.id) if known else None
        state = f"  [{row.state if row else 'open'}]" if known else ""
        typer.echo(f"{one.id}{state}\n    {one.text}\n    proof: {one.proof.by_hand}")


def ask(question: str, by_hand: str) -> Outcome:
    """Ask the person at the terminal.

    Raises:
        KeyboardInterrupt: The person ended it by Ctrl-C or Ctrl-D.
    """
    typer.echo(f"\n{with_own_command(by_hand)}")
    try:
        while True:
            answer = typer.prompt(f"{question} [y]es, [n]o, [s]kip", default="s", show_default=False).strip().lower()
            if answer in ("y", "yes"):
                return decided(True, "answered with yes")
            if answer in ("n", "no"):
                seen = typer.prompt("What did you see?", default="", show_default=False).strip()
                return refuted(seen or "answered with no")
            if answer in ("s", "skip"):
                return not_reached("skipped")
            typer.echo("y, n or s")
    except typer.Abort:
        raise KeyboardInterrupt from None


class Benches:
    """Makes the bench of an image, with a place for its progress.

    Args:
        image: Folder of the image.
        manifest: Its manifest.
        runs: Where runs of suites put their folders.
        questions: There is a person to be asked.
    """

    def __init__(self, image: Path, manifest: ImageManifest, runs: Path, *, questions: bool) -> None:
        self._image = image
        self._manifest = manifest
        self._runs = runs
        self.asker = ask if questions else None

    def open(self, progress: Progress) -> ImageBench:
        """A bench, to be closed by the caller."""
        accelerator = choose_accelerator("auto", probe_accelerators(cache_dir()))
        guests = ImageGuests(self._image, self._manifest, accelerator, progress=progress.detail)
        return ImageBench(
            self._image, self._manifest, accelerator, guests, runs=self._runs, asker=self.asker, progress=progress.detail
        )


def _prove_all(benches: Benches, folder: RecordFolder, wanted: Sequence[Statement], again: frozenset[str]) -> ProofRecord:
    """Prove what a program can decide, then what a person must look at."""
    with open_progress() as progress:
        progress.stage("look at the image")
        with contextlib.closing(benches.open(progress)) as bench:
            record = _begun(folder, bench.subject(qemu_version(QEMU)))
            folder.save(record)
            todo = open_statements(wanted, record, _again(again, record))
            alone = [one for one in todo if not isinstance(one.proof, Ask)]
            record = _prove(alone, record, bench, folder, progress.stage)
            progress.done("what needs no person is done")
    # A moving line would write over the questions.
    asked = [one for one in todo if isinstance(one.proof, Ask)]
    return _prove(asked, record, bench, folder, lambda _text: None)


def _prove(
    todo: Sequence[Statement], record: ProofRecord, bench: ProvingBench, folder: RecordFolder, stage: Callable[[str], None]
) -> ProofRecord:
    listener = Listener(begins=lambda one, number, of: stage(f"{number} of {of}: {one.id}"), ended=_say, save=folder.save)
    return prove(todo, record, bench, listener)


def _person() -> bool:
    return is_terminal(sys.stdin) and is_terminal(sys.stdout)


def _begun(folder: RecordFolder, subject: Subject) -> ProofRecord:
    """The record to go on with.

    Raises:
        ConfigError: The folder has the record of another image.
    """
    known = folder.read()
    if known is None or known.replaceable_by(subject):
        return ProofRecord(started=datetime.datetime.now(datetime.UTC).strftime(_NOW), subject=subject)
    if (known.subject.image, known.subject.key) != (subject.image, subject.key):
        raise ConfigError(
            f"is the record of another image: {known.subject.image}-{known.subject.key or '(its build failed)'}",
            file=str(folder.file),
            hint="give another folder with --out",
        )
    return known.continued(subject)


def _again(names: frozenset[str], record: ProofRecord) -> frozenset[str]:
    """The statements to be proved once more."""
    refuted_ones = {row.id for row in record.rows if row.state == "refuted"} if _REFUTED in names else set()
    return names | refuted_ones | ({row.id for row in record.rows} if _ALL in names else set())


def _say(row: Row) -> None:
    first = row.said.partition("\n")[0]
    typer.echo(f"{row.state}: {row.id}" + (f": {first}" if first and row.state != "proved" else ""))


def _end(record: ProofRecord, wanted: Sequence[Statement], folder: RecordFolder) -> int:
    typer.echo(f"{counted(record, wanted)}\n  {folder.file}\n  {folder.page}")
    rows = [record.row(one.id) for one in wanted]
    if any(row is not None and row.state == "refuted" for row in rows):
        return INFRA
    return OK if all(row is not None and row.answered for row in rows) else NOTHING


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder of a record.

    Raises:
        ConfigError: Another process proves.
    """
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ConfigError(f"another `lab windows prove` writes to {folder}", hint="wait for its end, or stop it") from None
    try:
        yield
    finally:
        lock.release()
