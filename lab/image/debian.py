"""mmdebstrap: its command line, and how its output is read."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import ConfigError, HostToolError
from lab.host.process import run
from lab.host.published import PublishedFolders
from lab.image.bootstrap_hints import hint_for as hint_for

_LOG = logging.getLogger(__name__)

#: A cold build takes one to four minutes; a slow mirror can make it many more.
DEADLINE_S = 3600.0
_PACKAGES = {"mmdebstrap": "mmdebstrap", "qemu-img": "qemu-utils", "mkfs.ext4": "e2fsprogs"}
#: Debian's keys, by the name that Debian and Ubuntu have had for years, and by the one that Debian is moving to.
KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
)
_SCRATCH = "lab-image-"
_LOCK = "builder.lock"
_STAGE = re.compile(r"^lab-stage: (.*)$")
_OWN_STAGES = {
    "I: running apt-get update...": "read Debian's package lists",
    "I: downloading packages with apt...": "download packages",
    "I: extracting archives...": "unpack the base system",
    "I: installing essential packages...": "install the base system",
    "I: installing remaining packages inside the chroot...": "install packages",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """A Debian tree to be made.

    Attributes:
        suite: Debian's code name of the release.
        packages: Installed with their hard dependencies.
        exclude_paths: Globs that are never unpacked.
        include_paths: Globs that are unpacked all the same.
        hooks: mmdebstrap customize hooks, in order; ``$1`` is the tree.
        keyring: Keys that sign the release; named, because the apt of an Ubuntu VM does not trust Debian's.
    """

    suite: str
    packages: Sequence[str]
    exclude_paths: Sequence[str]
    include_paths: Sequence[str] = ()
    hooks: Sequence[str] = ()
    keyring: Path = KEYRINGS[0]

    def argv(self) -> list[str]:
        """The command. No mirror is named: mmdebstrap knows Debian's, with updates and security fixes for a stable release."""
        argv = ["mmdebstrap", "--variant=essential", "--mode=auto", "--format=null", "--architectures=amd64"]
        argv += [f"--keyring={self.keyring}"]
        argv += ["--aptopt=Acquire::Languages none", "--aptopt=Acquire::Retries 3"]
        argv += [f"--dpkgopt=path-exclude={path}" for path in self.exclude_paths]
        argv += [f"--dpkgopt=path-include={path}" for path in self.include_paths]
        argv += ["--dpkgopt=force-unsafe-io", f"--include={','.join(self.packages)}"]
        argv += [f"--customize-hook={hook}" for hook in self.hooks]
        return [*argv, self.suite, "/dev/null"]


def require_tools(names: Sequence[str] = tuple(_PACKAGES), *, path: str | None = None) -> None:
    """Check that the host's programs are there.

    Raises:
        HostToolError: Names all that are missing, with the command that installs them.
    """
    missing = [name for name in names if shutil.which(name, path=path or _search_path()) is None]
    if missing:
        packages = " ".join(dict.fromkeys(_PACKAGES.get(name, name) for name in missing))
        sudo = "" if os.geteuid() == 0 else "sudo "
        message = f"this host lacks what the build of a guest image needs: {', '.join(missing)}"
        raise HostToolError([missing[0]], None, message=message, hint=f"{sudo}apt-get install {packages}")


def find_keyring(candidates: Sequence[Path] = KEYRINGS) -> Path:
    """Debian's archive keys on this host.

    Raises:
        HostToolError: They are not installed.
    """
    for path in candidates:
        if path.is_file():
            return path
    sudo = "" if os.geteuid() == 0 else "sudo "
    message = f"Debian's archive keys are not on this host: there is no {candidates[0]}"
    raise HostToolError(["mmdebstrap"], None, message=message, hint=f"{sudo}apt-get install debian-archive-keyring")


def bootstrap(plan: Bootstrap, *, on_stage: Callable[[str], None], on_detail: Callable[[str], None]) -> None:
    """Run mmdebstrap to its end.

    Args:
        plan: What to make.
        on_stage: Called when a new stage begins.
        on_detail: Called with every other line.

    Raises:
        HostToolError: It failed, with its last lines and, where they show the cause, what to do.
    """

    def line(text: str) -> None:
        match = _STAGE.match(text)
        stage = match.group(1) if match else _OWN_STAGES.get(text)
        if stage:
            on_stage(stage)
        else:
            on_detail(text)

    with _scratch_folder() as scratch:
        # INITRD=No: the kernel package would otherwise have an initrd made, which the guest does not use.
        environment = {**os.environ, "INITRD": "No", "PATH": _search_path(), "LC_ALL": "C.UTF-8", "TMPDIR": str(scratch)}
        try:
            run([*_cage(), *plan.argv()], DEADLINE_S, env=environment, on_line=line)
        except HostToolError as error:
            hint = hint_for(error.output) or error.hint
            raise HostToolError(["mmdebstrap"], error.exit_code, error.output, hint=hint) from None


def _cage() -> list[str]:
    """Prefix that gives mmdebstrap, as root, process and mount namespaces of its own: they end with it, even when it is killed.

    Run by another user, mmdebstrap creates its own namespaces.
    """
    cage = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() or not shutil.which("unshare"):
        return []
    return cage if run([*cage, "true"], 30, check=False).exit_code == 0 else []


@contextlib.contextmanager
def _scratch_folder() -> Iterator[Path]:
    """Folder for the tree, removed at the end in any case. Folders that killed builds left are removed first.

    It is in a folder of the user in the folder for temporary files, not in the cache: root in mmdebstrap's namespace is another
    user of the host, who must be able to enter it.
    """
    base = Path(tempfile.gettempdir()) / f"{_SCRATCH}{os.geteuid()}"
    with contextlib.suppress(FileExistsError):
        base.mkdir()
        base.chmod(0o711)
    status = base.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise ConfigError(f"{base} is not a folder of yours", hint="remove it, or set TMPDIR to another folder")
    folders = PublishedFolders(base, _LOCK, empty=_remove_trees)
    folders.sweep(lambda folder, error: _LOG.warning("%s is not removed: %s", folder, error))
    with folders.work_folder("tree") as folder:
        folder.chmod(0o1777)
        yield folder


def _remove_trees(folder: Path) -> None:
    """Remove trees whose files belong to users of mmdebstrap's namespace. Only a process in such a namespace can."""
    trees = [path for path in folder.iterdir() if path.name != _LOCK]
    if os.geteuid() and trees:
        run(["mmdebstrap", "--unshare-helper", "rm", "-rf", "--one-file-system", *trees], 300, check=False)


def hook_in(source: Path, target: str) -> str:
    """Customize hook: copy a folder's content into the tree."""
    return shlex.join(["sync-in", str(source), target])


def hook_out(source: str, target: Path) -> str:
    """Customize hook: copy one file out of the tree."""
    return shlex.join(["download", source, str(target)])


def _search_path() -> str:
    """mkfs.ext4 is in sbin, which other users than root do not have in their PATH."""
    return os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
