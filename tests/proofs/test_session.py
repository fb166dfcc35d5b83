"""A session of proofs against the stand-in for Windows: to its end, with wrong answers, interrupted and continued."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.config import load_settings
from lab.errors import BootTimeout, CommandFailed, GuestHung, HostToolError, LabError, TransportError
from lab.image.manifest import Credentials
from lab.image.windows import files
from lab.proofs.bench import Asker, ImageBench
from lab.proofs.catalogue import statements
from lab.proofs.document import table
from lab.proofs.record import ProofRecord, Row, Subject
from lab.proofs.redact import Redactor
from lab.proofs.session import Listener, open_statements, prove
from lab.proofs.statement import Bench, Outcome, Statement, proved
from lab.proofs.ways import Decided
from tests.proofs.conftest import Proving
from tests.proofs.standin import POWERSHELL, StandinMachine, yes

ROOT = Path(__file__).resolve().parents[2]
EMPTY = ProofRecord(started="2030-06-01T00:00:00Z", subject=Subject(image="windows-10", key="k", guest="g", accelerator="kvm"))
#: What the image of the tests cannot prove: it is Server 2022, and was built without an MSI.
NOT_HERE = {"windows-11-bypasses", "openssh", "driver-policy-is-reported", "test-signed-under-the-driver-policy"}


def session(
    proving: Proving, record: ProofRecord = EMPTY, *, asker: Asker | None = yes, again: tuple[str, ...] = ()
) -> ProofRecord:
    kept = [record]
    with contextlib.closing(proving.bench(asker)) as bench:
        todo = open_statements(statements(), record, again)
        prove(todo, record, bench, Listener(save=kept.append))
    return kept[-1]


def states(record: ProofRecord, *wanted: str) -> set[str]:
    return {row.id for row in record.rows if row.state in wanted}


def state(record: ProofRecord, name: str) -> tuple[str, str]:
    row = record.row(name)
    assert row is not None
    return row.state, row.said


def test_every_statement_is_reached_and_fills_its_row_of_the_table(proving: Proving) -> None:
    record = session(proving)
    assert [row for row in record.rows if row.state == "refuted"] == []
    assert states(record, "not reached") == NOT_HERE
    assert {row.id for row in record.rows} == {one.id for one in statements()}
    assert {row.id for row in record.rows if row.by == "person"} == {
        one.id for one in statements() if one.proof.needs == "person"
    }
    # The table of the document, from this record.
    lines = table(statements(), [record]).splitlines()
    proven = len(statements()) - len(NOT_HERE)
    assert lines[0] == f"{len(statements())} statements: {proven} proved, 0 refuted, {len(NOT_HERE)} open."
    assert sum("proved: g (kvm, 20" in line for line in lines) == proven


def test_guests_are_shared_and_ended(proving: Proving) -> None:
    session(proving)
    (guests,) = proving.guests
    # One for all proofs in a guest; then one of each own VM: without a debugger, the crash, twice the one that is killed, and
    # the one that restarts.
    assert [machine.spec.name for machine in guests.machines] == ["prove-windows-server-2022"] * 6
    assert guests.machines[1].spec.disks[0].path.name == "disk-kd.qcow2"
    assert [machine.killed for machine in guests.machines].count(True) == 6
    overlay = guests.machines[4].spec.disks[0].path
    assert overlay == guests.machines[3].run_dir / "overlay.qcow2"
    assert f"run --guest {proving.image} suites/async [LAB_DEBUG=kd]" in proving.commands.lines


def test_the_guest_is_up_for_ten_minutes_before_it_is_called_quiet(proving: Proving) -> None:
    assert state(session(proving), "quiet")[0] == "proved"
    assert proving.now >= 600


@pytest.mark.parametrize(
    ("name", "way", "template", "code", "wanted", "said"),
    [
        ("verifier-without-restart", "now", "t1", 0, "proved", "by: now"),
        # A test that Driver Verifier makes red says nothing against the way by which it came into force.
        ("verifier-without-restart", "volatile", "t1", 3, "proved", "exit code 3"),
        ("verifier-without-restart", "reboot", "t1", 0, "refuted", "by: reboot"),
        ("verifier-without-restart", "now", "", 0, "not reached", "no guest of the run was a fork"),
        ("verifier-without-restart", "now", "t1", 10, "not reached", "decided nothing"),
        ("verifier-without-restart", None, "t1", 0, "not reached", "decided nothing"),
        ("verifier-with-restart", "reboot", "t1", 0, "proved", "by: reboot"),
        ("verifier-with-restart", "reboot", "", 0, "proved", "by: reboot"),
        ("verifier-with-restart", "now", "t1", 0, "refuted", "by: now"),
    ],
)
def test_the_way_of_driver_verifier_is_read_from_the_report(
    proving: Proving, name: str, way: str | None, template: str, code: int, wanted: str, said: str
) -> None:
    (one,) = [one for one in statements() if one.id == name]
    proving.commands.ways = {} if way is None else {"standard": way, "standard-restart": way}
    proving.commands.template = template
    proving.commands.codes["--verifier"] = code
    with contextlib.closing(proving.bench()) as bench:
        found, text = state(prove([one], EMPTY, bench, Listener()), name)
    assert (found, said in text) == (wanted, True), text


def test_the_profile_with_a_restart_is_in_the_lab_file_of_the_suites() -> None:
    profiles = load_settings({}, config=ROOT / "lab.yaml", environ={}).values.verifier_profiles
    assert (profiles["standard-restart"].checks, profiles["standard-restart"].reboot) == (("standard",), True)


def reply(beginning: str, code: int, text: str) -> Callable[[Proving], None]:
    def change(proving: Proving) -> None:
        others = {known: answer for known, answer in proving.windows.replies.items() if known != beginning}
        proving.windows.replies = {beginning: (code, text), **others}

    return change


def exit_code(word: str, code: int) -> Callable[[Proving], None]:
    return lambda proving: proving.commands.codes.update({word: code})


@pytest.mark.parametrize(
    ("change", "name", "wanted", "said"),
    [
        (reply("ipconfig", 0, "no adapter"), "devices-need-no-drivers", "refuted", "no adapter"),
        (reply("findstr", 0, r"C:\Windows\Panther\unattend.xml"), "nothing-left-of-setup", "refuted", "unattend.xml"),
        (reply("sc.exe start", 0, "RUNNING"), "unsigned-driver-is-refused", "refuted", "exit code 0"),
        (reply("tasklist", 0, "TiWorker.exe  4711"), "quiet", "refuted", "TiWorker.exe"),
        (reply("sc.exe query wuauserv", 0, "STATE : 4  RUNNING"), "quiet", "refuted", "RUNNING"),
        (reply(f"{POWERSHELL}(Get-Net", 0, "Public"), "network-is-private", "refuted", "Public"),
        (reply("bcdedit.exe /enum {current}", 0, "testsigning Yes"), "killed-guest-starts-again", "refuted", "{}"),
        (reply("pnputil.exe", 0, "Instance ID: PCI\\VEN_8086"), "other-qemu", "refuted", "PCI"),
        (reply(r"dir /b /a C:\Windows\MEMORY.DMP", 1, ""), "nmi-makes-a-dump", "refuted", "dumps: none"),
        (exit_code("suites/lifecycle", 1), "signed-driver-loads", "refuted", "exit code 1"),
        (exit_code("suites/lifecycle", 10), "signed-driver-loads", "not reached", "decided nothing"),
        (exit_code("suites/lifecycle", 2), "signed-driver-loads", "not reached", "decided nothing"),
        (exit_code("suites/lifecycle", 5), "signed-driver-loads", "not reached", "exit code 5"),
        (exit_code("suites/lifecycle", 3), "signed-driver-loads", "refuted", "exit code 3"),
        (exit_code("bench", 1), "budgets-under-kvm", "refuted", "exit code 1"),
        (exit_code("bench", 10), "budgets-under-kvm", "not reached", "exit code 10"),
        (lambda proving: setattr(proving.windows, "relayed", False), "print-relay-runs", "refuted", "the print relay runs"),
        (lambda proving: setattr(proving.windows, "trusted", False), "certificates", "refuted", "certutil ended with"),
        (lambda proving: proving.windows.asked.update(vbs=2), "no-virtualization-based-security", "refuted", ": 2, wanted"),
        (lambda proving: proving.windows.asked.update(grace_minutes=5), "licence-days", "refuted", "5 minutes"),
        (lambda proving: setattr(proving.windows, "seconds", 25.0), "guest-clock", "refuted", "took 25.0 s"),
        (lambda proving: setattr(proving.windows, "asked", "nonsense"), "test-signing", "not reached", "is not JSON"),
    ],
)
def test_a_wrong_answer_refutes_its_statement(
    proving: Proving, change: Callable[[Proving], None], name: str, wanted: str, said: str
) -> None:
    change(proving)
    with contextlib.closing(proving.bench(yes)) as bench:
        (one,) = [one for one in statements() if one.id == name]
        found, text = state(prove([one], EMPTY, bench, Listener()), name)
    assert found == wanted
    assert said in text


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        (((3.0, "key"), (9.0, "write")), "proved"),
        (((3.0, "key"), (5.0, "reset"), (7.0, "key"), (9.0, "write")), "refuted"),
        (((3.0, "write"), (9.0, "key")), "not reached"),
        (((3.0, "write"),), "not reached"),
        (((3.0, "key"),), "not reached"),
    ],
)
def test_the_key_prompt_is_judged_by_what_came_before_the_first_write(
    proving: Proving, events: tuple[tuple[float, str], ...], wanted: str
) -> None:
    lines = [json.dumps({"at_s": at, "kind": kind, "detail": ""}) for at, kind in events]
    (proving.image / files.EVENTS).write_text("\n".join(lines) + "\n")
    (one,) = [one for one in statements() if one.id == "key-prompt"]
    with contextlib.closing(proving.bench()) as bench:
        assert state(prove([one], EMPTY, bench, Listener()), "key-prompt")[0] == wanted


def test_without_a_person_no_question_is_answered(proving: Proving) -> None:
    record = session(proving, asker=None)
    assert states(record, "not reached") == NOT_HERE | {one.id for one in statements() if one.proof.needs == "person"}
    assert "needs a person" in state(record, "no-page-of-oobe")[1]


def test_an_interrupted_session_goes_on_where_it_was(proving: Proving) -> None:
    def interrupt(line: str) -> None:
        if "suites/stress" in line:
            raise KeyboardInterrupt

    proving.commands.before = interrupt
    kept = [EMPTY]
    with pytest.raises(KeyboardInterrupt), contextlib.closing(proving.bench(yes)) as bench:
        prove(open_statements(statements(), EMPTY), EMPTY, bench, Listener(save=kept.append))
    half = kept[-1]
    assert states(half, "proved")
    assert half.row("two-processors") is None
    before, proving.commands.before = list(proving.commands.lines), lambda _line: None

    proving.commands.lines.clear()
    proving.windows.commands.clear()
    record = session(proving, half)
    assert states(record, "not reached") == NOT_HERE
    assert states(record, "proved") == {one.id for one in statements()} - NOT_HERE
    # Nothing that was answered is asked again: no guest is booted, and no suite runs twice.
    assert set(before) & set(proving.commands.lines) == set()
    assert proving.guests[-1].machines == []
    assert proving.windows.commands == []
    assert [row for row in record.rows[: len(half.rows)] if row.answered] == [row for row in half.rows if row.answered]


def test_what_is_answered_is_proved_again_only_if_asked(proving: Proving) -> None:
    record = session(proving)
    proving.windows.commands.clear()
    proving.windows.replies["ver"] = (1, "")
    assert state(session(proving, record), "winrm-client")[0] == "proved"
    assert proving.windows.commands == []
    assert state(session(proving, record, again=("winrm-client",)), "winrm-client")[0] == "refuted"


class Fails:
    """A proof that fails in some way, and counts."""

    def __init__(self, error: LabError) -> None:
        self.error = error

    def __call__(self, bench: Bench) -> Outcome:
        bench.guest()
        raise self.error


def statement(name: str, decide: Callable[[Bench], Outcome]) -> Statement:
    return Statement(id=name, text=name, proof=Decided(decide=decide, by_hand="`x`", needs="guest"))


def test_an_error_of_the_lab_is_no_answer_of_windows(proving: Proving) -> None:
    todo = [
        statement("a-command", Fails(CommandFailed("ver", 5, "", "Access is denied."))),
        statement("a-tool", Fails(HostToolError(["qemu-img"], 1, "no space left"))),
        statement("a-hang", Fails(GuestHung("no answer within 300 s"))),
        statement("a-lost-guest", Fails(TransportError("connection reset"))),
        statement("a-guest", lambda bench: proved(bench.guest().name)),
    ]
    with contextlib.closing(proving.bench()) as bench:
        record = prove(todo, EMPTY, bench, Listener())
        found = {row.id: (row.state, row.said.partition("\n")[0]) for row in record.rows}
        assert found == {
            "a-command": ("refuted", "in the guest, `ver` ended with 5: Access is denied."),
            "a-tool": ("not reached", "qemu-img ended with 1; its last lines:"),
            "a-hang": ("not reached", "no answer within 300 s"),
            "a-lost-guest": ("not reached", "connection reset"),
            "a-guest": ("proved", "winrm"),
        }
        # After a hang and a lost connection the next proof gets a fresh guest.
        assert len(proving.guests[-1].machines) == 3


def test_a_guest_that_does_not_boot_is_not_booted_for_each_statement(proving: Proving, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def fail(_machine: StandinMachine, *, timeout: float = 60.0) -> None:
        tries.append("start")
        raise BootTimeout("the guest answered no command within 600 s")

    monkeypatch.setattr(StandinMachine, "start", fail)
    todo = [statement(name, lambda bench: proved(bench.guest().name)) for name in ("one", "two", "three")]
    with contextlib.closing(proving.bench()) as bench:
        record = prove(todo, EMPTY, bench, Listener())
    assert [row.said for row in record.rows] == ["the guest answered no command within 600 s"] * 3
    assert tries == ["start"]


def test_a_guest_that_dies_again_and_again_is_given_up(proving: Proving) -> None:
    def die(bench: Bench) -> Outcome:
        bench.guest()
        assert isinstance(bench, ImageBench)
        proving.guests[-1].machines[-1].kill()
        return proved()

    todo = [statement(f"statement-{number}", die) for number in range(5)]
    with contextlib.closing(proving.bench()) as bench:
        record = prove(todo, EMPTY, bench, Listener())
    assert [row.state for row in record.rows] == ["proved"] * 3 + ["not reached"] * 2
    assert record.rows[-1].said == "the guest died 3 times"


def test_a_crash_without_kvm_has_no_panic_and_still_a_dump(proving: Proving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StandinMachine, "qmp", property(lambda machine: _without_panic(machine)))
    found = session(proving)
    assert state(found, "nmi-makes-a-dump")[0] == "proved"
    assert state(found, "panic-is-reported-and-dumped")[0] == "refuted"
    assert state(found, "panic-has-the-code")[0] == "refuted"


def _without_panic(machine: StandinMachine) -> object:
    machine.monitor.after_nmi = (("RESET", {}),)
    return machine.monitor


PASSWORD, KEY = "Geheim9xQpassword", "ABCDE-12345-FGHIJ-67890-KLMNO"


def test_no_secret_and_no_name_reaches_the_record(proving: Proving, monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        f"logon of labuser with {PASSWORD} and LABUSER; key {KEY}; Partial Product Key: 3V66T\r\nC:\\Users\\Erika Muster\\x "
        r"/home/erika/out S-1-5-21-1111-2222-3333-500 host big-tower.example.com BIG-TOWER labusers"
    )
    monkeypatch.setenv("USER", "erika")
    monkeypatch.setattr("socket.gethostname", lambda: "big-tower.example.com")
    redactor = Redactor.here(Credentials(username="labuser", password=PASSWORD, others={"token": "tok-99887766"}))
    proving.windows.replies["ipconfig"] = (1, said + " tok-99887766")
    clean = redactor.record(session(proving))
    text = clean.model_dump_json()
    for word in (PASSWORD, KEY, "labuser ", "LABUSER", "Erika", "erika", "3V66T", "2222", "big-tower", "BIG-TOWER", "99887766"):
        assert word not in text, word
    _state, shown = state(clean, "devices-need-no-drivers")
    assert "logon of <user> with <secret> and <user>; key <product key>" in shown
    assert "labusers" in shown
    # What the lab itself writes stays as it is.
    assert {row.id for row in clean.rows} == {one.id for one in statements()}


def test_names_that_say_nothing_of_a_person_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "root")
    monkeypatch.setattr("socket.gethostname", lambda: "localhost")
    redactor = Redactor.here(Credentials(username="lab", password="pw-of-the-guest"))
    assert redactor.text("lab run as root on localhost") == "lab run as root on localhost"


def test_a_row_takes_the_place_of_the_former_one() -> None:
    record = EMPTY.with_row(Row(id="a", text="t", state="refuted")).with_row(Row(id="b", text="t", state="proved"))
    again = record.with_row(Row(id="a", text="t", state="proved"))
    assert [(row.id, row.state) for row in again.rows] == [("a", "proved"), ("b", "proved")]
    assert (again.count("proved"), again.count("refuted")) == (2, 0)
