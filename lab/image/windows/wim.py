"""Which Windows editions a WIM or ESD file holds, from its header and its XML part; the gigabytes between are never read.

The layout is that of the published Windows Imaging File Format: a header of at least 208 bytes, all numbers little-endian, in
which a resource header (size in 7 bytes, flags in 1, offset in 8, original size in 8) at byte 72 says where the XML is.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from xml.etree import ElementTree

from lab.errors import ConfigError

#: How a WIM file begins; an ESD is one, too.
MAGIC = b"MSWIM\0\0\0"
HEADER_SIZE = 208
_XML_RESOURCE = 72
_COMPRESSED = 0x04
#: Real ones take some tens of kilobytes; more than this is damage.
_XML_LIMIT = 16 << 20

#: Reads ``size`` bytes at ``offset`` of the WIM; fewer at its end.
ReadAt = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Edition:
    """One image of a WIM.

    Attributes:
        index: Its number, from 1 on.
        name: Its name, by which a recipe chooses.
        edition: Windows' own word for the edition, for example ``ServerStandardEval``; empty when the file does not say.
        build: Build number, for example ``20348``; empty when the file does not say.
        arch: ``x64``, ``x86``, ``arm64``; empty when the file does not say.
        languages: Of its user interface, the default first, for example ``en-US``; empty when the file does not say.
        display: The name that Setup shows; empty when the file has no other name than ``name``. Some ISOs of Windows 11 have
            images with the name ``Windows 10 Pro`` that Setup shows as ``Windows 11 Pro``.
    """

    index: int
    name: str
    edition: str = ""
    build: str = ""
    arch: str = ""
    languages: tuple[str, ...] = ()
    display: str = ""

    @property
    def is_evaluation(self) -> bool:
        """It runs for some months only, and takes no product key."""
        return self.edition.endswith("Eval")


#: The processors of the lab's guests.
ARCH = "x64"
_ARCHITECTURES = {"0": "x86", "5": "arm", "9": "x64", "12": "arm64"}


def read_editions(read_at: ReadAt, size: int, *, file: str) -> tuple[Edition, ...]:
    """List the images of a WIM file.

    Args:
        read_at: Reads a range of the file.
        size: The file's length in bytes.
        file: Its name, for messages.

    Raises:
        ConfigError: It is not a WIM, is cut off, or has an XML part that cannot be read.
    """
    header = read_at(0, HEADER_SIZE)
    if len(header) < HEADER_SIZE:
        raise ConfigError(f"{file} is truncated: it has no complete WIM header", hint=_AGAIN)
    if not header.startswith(MAGIC):
        raise ConfigError(f"{file} is not a WIM file: it begins with {header[:8]!r}", hint=_AGAIN)
    sizes, offset, original = struct.unpack_from("<QQQ", header, _XML_RESOURCE)
    length, flags = sizes & 0x00FF_FFFF_FFFF_FFFF, sizes >> 56
    if flags & _COMPRESSED and length != original:
        raise ConfigError(
            f"{file} has a compressed list of images", hint="use the ISO as Microsoft publishes it, not a repacked one"
        )
    if not 0 < length <= _XML_LIMIT or offset < HEADER_SIZE:
        raise ConfigError(f"{file} has a damaged header: its list of images has {length} bytes at {offset}", hint=_AGAIN)
    if offset + length > size:
        raise ConfigError(f"{file} is truncated: its list of images would end at byte {offset + length} of {size}", hint=_AGAIN)
    data = read_at(offset, length)
    if len(data) < length:
        raise ConfigError(f"{file} is truncated in its list of images", hint=_AGAIN)
    return parse_editions(data, file=file)


def parse_editions(data: bytes, *, file: str) -> tuple[Edition, ...]:
    """List the images in the XML part of a WIM.

    Args:
        data: The XML in UTF-16, with or without a byte order mark.
        file: The WIM's name, for messages.

    Raises:
        ConfigError: The data is not such XML.
    """
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-16-le")
        # No document type, so no entities: such a list has none, and they could be made to grow without end.
        if "<!" in text:
            raise ValueError("it has a document type, a comment or CDATA")
        root = ElementTree.fromstring(text.strip("\0\ufeff"))
        editions = tuple(_edition(image) for image in root.iter("IMAGE"))
    except (ValueError, ElementTree.ParseError) as error:
        raise ConfigError(f"{file} has an unreadable list of images: {error}", hint=_AGAIN) from None
    if not editions:
        raise ConfigError(f"{file} has no images", hint=_AGAIN)
    return editions


def choose_edition(editions: tuple[Edition, ...], wanted: tuple[str, ...], *, file: str) -> Edition:
    """The image that a recipe wants.

    Args:
        editions: What there is.
        wanted: Names, the best first. Each is searched for as it is written, then without regard to case and spaces, then among
            the names that Setup shows. Of several images with one name, the one for the lab's processors is taken.
        file: Name of the ISO, for messages.

    Raises:
        ConfigError: None of them is there, or several are the same; the message lists what is there.
    """
    for name in wanted:
        for matches in (
            [edition for edition in editions if edition.name == name],
            [edition for edition in editions if _loose(edition.name) == _loose(name)],
            [edition for edition in editions if _loose(edition.display) == _loose(name)],
        ):
            if len(matches) > 1:
                matches = [edition for edition in matches if edition.arch == ARCH] or matches
            if len(matches) == 1:
                return matches[0]
            if matches:
                raise ConfigError(f"{file} has {len(matches)} images with the name {name!r}{_listing(editions)}", hint=_AGAIN)
    sought = " or ".join(repr(name) for name in wanted)
    raise ConfigError(
        f"{file} has no image {sought}{_listing(editions)}",
        hint="write the name of one of these under `editions` in the recipe's recipe.yaml, or use another ISO",
    )


_AGAIN = "download the ISO again, and compare its SHA-256 with the publisher's"


def _edition(image: ElementTree.Element) -> Edition:
    windows = image.find("WINDOWS")
    told = "" if windows is None else windows.findtext("ARCH", "").strip()
    default = image.findtext("WINDOWS/LANGUAGES/DEFAULT", "").strip()
    languages = [default, *((item.text or "").strip() for item in image.iterfind("WINDOWS/LANGUAGES/LANGUAGE"))]
    return Edition(
        index=int(image.get("INDEX", "")),
        name=(image.findtext("NAME") or image.findtext("DISPLAYNAME") or "").strip(),
        edition=image.findtext("WINDOWS/EDITIONID", "").strip(),
        build=image.findtext("WINDOWS/VERSION/BUILD", "").strip(),
        arch=_ARCHITECTURES.get(told, told),
        languages=tuple(dict.fromkeys(filter(None, languages))),
        display=(image.findtext("DISPLAYNAME") or "").strip(),
    )


def _loose(name: str) -> str:
    return "".join(name.split()).casefold()


def _listing(editions: tuple[Edition, ...]) -> str:
    return "; it has:" + "".join(f"\n    {edition.index}: {_shown(edition)}" for edition in editions)


def _shown(edition: Edition) -> str:
    more = [edition.display] if edition.display not in ("", edition.name) else []
    more += [edition.arch] if edition.arch not in ("", ARCH) else []
    return edition.name + (f" ({', '.join(more)})" if more else "")
