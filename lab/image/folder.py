"""Reads an image's folder, with errors that say why an image cannot be used."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from lab.errors import ImageError
from lab.image.manifest import Credentials, ImageManifest, load_credentials, load_manifest


def read_manifest(image_dir: Path) -> ImageManifest:
    """The manifest of an image folder.

    Raises:
        ImageError: There is none, or this version of the lab cannot use it.
    """
    file = image_dir / "manifest.json"
    try:
        return load_manifest(image_dir)
    except FileNotFoundError:
        raise ImageError(f"{image_dir} is not an image: it has no manifest.json", hint="`lab image list` lists them") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{file} cannot be used: {_first_problem(error)}", hint=_build_again(image_dir)) from None


def read_credentials(image_dir: Path) -> Credentials:
    """The credentials for guests of an image.

    Raises:
        ImageError: There is no such file, it may not be read, or it is damaged. No value of the file is in the message.
    """
    try:
        return load_credentials(image_dir)
    except (OSError, ValidationError) as error:
        # Without its cause: the frames of pydantic contain the file's text.
        raise ImageError(
            f"{image_dir / 'credentials.json'} cannot be used: {_first_problem(error)}",
            hint=f"{_build_again(image_dir)} builds the image again, with new ones",
        ) from None


def _first_problem(error: Exception) -> str:
    """What is wrong with a file, in one line, without any value that stands in it."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return f"{where}: {first['msg']}" if where else first["msg"]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition("\n")[0]


def _build_again(image_dir: Path) -> str:
    """The command that makes an image anew; its name is that of its folder, without the key."""
    name = image_dir.name.rpartition("-")[0] or "NAME"
    return f"`lab image build {name} --force`"
