"""An ISO that contradicts the answer file is refused before anything is begun."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import ConfigError
from lab.image.kind import BuildRequest
from lab.image.windows import order
from lab.image.windows.iso import WindowsIso, inspect_iso
from lab.image.windows.iso_check import check_iso, spelled
from lab.image.windows.recipe import WindowsRecipeFile, windows_recipe
from lab.image.windows.wim import Edition, parse_editions
from tests.image.windows.media import wim, wim_xml, write_iso

NAME = "Windows Server 2022 Standard Evaluation"


def xml(languages: str = "", edition: str = "ServerStandardEval") -> bytes:
    told = f"<EDITIONID>{edition}</EDITIONID>{languages}"
    return wim_xml([NAME]).replace("<EDITIONID>Some</EDITIONID>".encode("utf-16-le"), told.encode("utf-16-le"))


def languages(*tags: str, default: str) -> str:
    listed = "".join(f"<LANGUAGE>{tag}</LANGUAGE>" for tag in tags)
    return f"<LANGUAGES>{listed}<DEFAULT>{default}</DEFAULT></LANGUAGES>"


def lang_ini(*tags: str) -> bytes:
    lines = "".join(f"{tag} = 3\r\n" for tag in tags)
    return f"[Available UI Languages]\r\n{lines}\r\n[Fallback Languages]\r\n{tags[0]} = en-us\r\n".encode()


def iso_of(folder: Path, data: bytes, **small: bytes) -> WindowsIso:
    files = {"sources/install.wim": wim(data)}
    files |= {f"sources/{name.replace('_', '.')}": content for name, content in small.items()}
    return inspect_iso(write_iso(folder / "w.iso", files))


def check(iso: WindowsIso, *, locale: str = "en-US", product_key: bool = False) -> None:
    recipe = windows_recipe("windows-server-2022")
    changed = WindowsRecipeFile.model_validate({**recipe.model_dump(), "locale": locale})
    check_iso(iso, iso.choose(changed.editions), changed, product_key=product_key)


def test_the_languages_of_an_image_are_read(tmp_path: Path) -> None:
    (edition,) = parse_editions(xml(languages("en-US", "fr-FR", default="fr-FR")), file="x")
    assert edition.languages == ("fr-FR", "en-US")
    iso = iso_of(tmp_path, xml(), lang_ini=lang_ini("it-it", "en-us"))
    assert iso.setup_languages == ("it-it", "en-us")
    assert iso.editions[0].languages == ()


def test_a_setup_in_another_language_is_refused(tmp_path: Path) -> None:
    iso = iso_of(tmp_path, xml(), lang_ini=lang_ini("ja-jp"))
    with pytest.raises(ConfigError, match=r"its Setup has ja-JP, and the recipe's locale is en-US") as caught:
        check(iso)
    assert "`locale: ja-JP` into vm-images/windows-server-2022/recipe.yaml" in caught.value.hint
    check(iso, locale="ja-JP")


def test_an_image_in_another_language_is_refused(tmp_path: Path) -> None:
    iso = iso_of(tmp_path, xml(languages("es-ES", default="es-ES")))
    with pytest.raises(ConfigError, match="has es-ES, and the recipe's locale is en-US"):
        check(iso)


def test_one_of_several_languages_is_enough_whatever_its_spelling(tmp_path: Path) -> None:
    check(iso_of(tmp_path, xml(languages("EN-us", "es-ES", default="es-ES")), lang_ini=lang_ini("es-es", "en-us")))
    iso = iso_of(tmp_path, xml(languages("sr-latn-rs", default="sr-latn-rs")))
    check(iso, locale="sr-Latn-RS")


@pytest.mark.parametrize(("tag", "as_windows"), [("DE-de", "de-DE"), ("zh-hant-tw", "zh-Hant-TW"), ("en-US", "en-US")])
def test_tags_are_spelled_as_windows_does(tag: str, as_windows: str) -> None:
    assert spelled(tag) == as_windows


def test_an_iso_without_a_language_is_accepted(tmp_path: Path) -> None:
    check(iso_of(tmp_path, xml(), lang_ini=b"\xff\xfe\0no ini at all"))


def test_the_one_edition_of_ei_cfg_must_be_the_chosen_one(tmp_path: Path) -> None:
    check(iso_of(tmp_path, xml(), ei_cfg=b"[EditionID]\r\n\r\n[Channel]\r\nEval\r\n"))
    check(iso_of(tmp_path, xml(), ei_cfg=b"[EditionID]\r\nserverstandardeval\r\n"))
    with pytest.raises(ConfigError, match="installs ServerDatacenter only") as caught:
        check(iso_of(tmp_path, xml(), ei_cfg=b"[EditionID]\r\nServerDatacenter\r\n[VL]\r\n0\r\n"))
    assert "`editions`" in caught.value.hint


def test_an_evaluation_takes_no_product_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\(ServerStandardEval\) in .* is an evaluation") as caught:
        check(iso_of(tmp_path, xml()), product_key=True)
    assert "--product-key-file" in caught.value.hint
    check(iso_of(tmp_path, xml(edition="ServerStandard")), product_key=True)


def test_another_processor_is_refused() -> None:
    iso = WindowsIso(Path("w.iso"), 1, "", "", ())
    with pytest.raises(ConfigError, match="is for arm64 processors"):
        check_iso(iso, Edition(1, NAME, arch="arm64"), windows_recipe("windows-11"))


def test_it_is_refused_before_the_host_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def probed(_cache: object) -> None:
        raise AssertionError("it is too late")

    monkeypatch.setattr(order, "probe_accelerators", probed)
    iso = iso_of(tmp_path, xml(), lang_ini=lang_ini("nl-nl"))
    with pytest.raises(ConfigError, match="nl-NL"):
        order.order_build(
            windows_recipe("windows-server-2022"),
            BuildRequest(name="windows-server-2022", options={"iso": iso.path}, cache=tmp_path),
        )
