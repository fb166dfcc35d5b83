"""A toy guest kind: its image is a text file, and its virtual machine boots nothing."""

from __future__ import annotations

import datetime
from pathlib import Path

from lab.errors import ConfigError
from lab.image.credentials import make_secrets, save_credentials
from lab.image.key import content_key
from lab.image.kind import GuestWords, Recipe
from lab.image.manifest import ImageManifest, MachineSpec, PrintPort
from lab.image.progress import Progress
from lab.image.selfbuilt import SelfBuilt

NAME = "toy"
GREETING = "good day\n"


class ToyRecipe:
    """Makes the image. What goes into it decides its key: the same key is never built twice."""

    name = NAME

    def key(self) -> str:
        return content_key({"greeting": GREETING.encode()})

    def build(self, folder: Path, progress: Progress) -> None:
        progress.stage("write the greeting")
        (folder / "toy.txt").write_text(GREETING, encoding="utf-8")
        save_credentials(make_secrets("toy", "lab-toy").credentials, folder)
        manifest = ImageManifest(
            name=NAME,
            key=self.key(),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            guest="toy guest: a text file",
            kind=NAME,
            capabilities=("driver_load", "dbgprint"),
            machine=MachineSpec(machine="q35", memory_mb=16, disk="toy.txt"),
            prints=PrintPort(source="none"),
            transports={},
        )
        (folder / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


class ToyKind(SelfBuilt):
    """The kind. SelfBuilt has the rest: the VM of the manifest, the health check, one answer until a guest is ready."""

    words = GuestWords(
        title="a toy",
        label="a toy, not Windows",
        about="This guest is a toy. Nothing that it shows says anything about Windows.",
        warning="This guest is a toy.",
    )

    def recipe_names(self) -> tuple[str, ...]:
        return (NAME,)

    def recipe(self, name: str) -> Recipe:
        if name != NAME:
            raise ConfigError(f"there is no toy {name!r}", hint=self.build_command(NAME))
        return ToyRecipe()


KIND = ToyKind()
