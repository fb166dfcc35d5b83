"""An ISO that contradicts the answer file is refused before anything is begun."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import ConfigError
from lab.image.kind import BuildRequest
from lab.image.windows import order
from lab.image.windows.iso import WindowsIso, inspect_iso
from lab.image.windows.iso_check import check_iso, spelled
from lab.image.windows.recipe import WindowsRecipeFile, windows_recipe
from lab.image.windows.wim import Edition, choose_edition, parse_editions
from tests.image.windows.media import wim, wim_xml, write_iso, write_tree

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


CONSUMER = "Windows 11 Pro"


def consumer(folder: Path, *builds: str, **small: bytes) -> WindowsIso:
    """As an ISO that is sold: no edition of it is an evaluation."""
    build = builds[0] if builds else "26100"
    return iso_of(folder, wim_xml([CONSUMER]).replace("20348".encode("utf-16-le"), build.encode("utf-16-le")), **small)


def check_consumer(iso: WindowsIso, *, product_key: bool = False) -> None:
    recipe = windows_recipe("windows-11")
    check_iso(iso, iso.choose(recipe.editions), recipe, product_key=product_key)


def test_an_edition_that_is_sold_needs_a_product_key(tmp_path: Path) -> None:
    iso = consumer(tmp_path)
    with pytest.raises(ConfigError, match="is no evaluation, so its Setup asks for a product key, and there is none") as caught:
        check_consumer(iso)
    assert "--product-key-file" in caught.value.hint
    check_consumer(iso, product_key=True)


@pytest.mark.parametrize(
    "small",
    [
        {"pid_txt": b"[PID]\r\nValue=ABCDE-12345-FGHIJ-67890-KLMNO\r\n"},
        {"ei_cfg": b"[EditionID]\r\n\r\n[Channel]\r\nVolume\r\n[VL]\r\n1\r\n"},
        {"ei_cfg": b"[Channel]\r\nEval\r\n"},
        {"ei_cfg": b"[Channel]\r\nRetail\r\n[VL]\r\n1\r\n"},
    ],
)
def test_media_with_a_licence_of_their_own_need_none(tmp_path: Path, small: dict[str, bytes]) -> None:
    check_consumer(consumer(tmp_path, **small))


def test_media_of_a_shop_need_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="asks for a product key"):
        check_consumer(consumer(tmp_path, ei_cfg=b"[Channel]\r\nRetail\r\n[VL]\r\n0\r\n"))


def test_the_build_decides_about_the_version_and_not_the_name(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"is build 19045: that of Windows 10, and .*windows-11.* is for Windows 11"
    ) as caught:
        check_consumer(consumer(tmp_path, "19045"), product_key=True)
    assert "recipe of that version" in caught.value.hint
    with pytest.raises(ConfigError, match=r"is build 9600, and"):
        check_consumer(consumer(tmp_path, "9600"), product_key=True)


@pytest.mark.parametrize("name", ["autounattend.xml", "Unattend.xml"])
def test_an_answer_file_on_the_iso_is_refused(tmp_path: Path, name: str) -> None:
    iso = inspect_iso(write_tree(tmp_path / "t.iso", {"sources/install.wim": wim(xml()), name: b"<unattend/>"}))
    assert iso.own_answer_file == name
    with pytest.raises(ConfigError, match=f"has an answer file of its own, {name}, and Setup might take it"):
        check(iso)


def test_an_iso_that_starts_other_processors_is_refused(tmp_path: Path) -> None:
    iso = replace(iso_of(tmp_path, xml()), boot_loaders=("bootaa64.efi", "bootia32.efi"))
    with pytest.raises(ConfigError, match=r"its efi/boot has bootaa64.efi, bootia32.efi"):
        check(iso)
    check(replace(iso, boot_loaders=("bootia32.efi", "bootx64.efi")))


def test_the_boot_loaders_are_read(tmp_path: Path) -> None:
    assert iso_of(tmp_path, xml()).boot_loaders == ()
    files = {"sources/install.wim": wim(xml()), "EFI/Boot/BOOTX64.EFI": b"MZ", "EFI/Boot/readme.txt": b"-"}
    assert inspect_iso(write_tree(tmp_path / "t.iso", files)).boot_loaders == ("bootx64.efi",)


def test_an_iso_for_both_processors_is_refused(tmp_path: Path) -> None:
    files = {"x64/sources/install.esd": wim(xml()), "x86/sources/install.esd": wim(xml()), "setup.exe": b"MZ"}
    with pytest.raises(ConfigError, match="is for x86 and x64 processors, with a Setup for each") as caught:
        inspect_iso(write_tree(tmp_path / "both.iso", files))
    assert "(x64) processors alone" in caught.value.hint


def test_of_two_images_with_one_name_that_for_x64_is_taken() -> None:
    both = (Edition(1, CONSUMER, arch="x86"), Edition(2, CONSUMER, arch="x64"))
    assert choose_edition(both, (CONSUMER,), file="w.iso").index == 2
    with pytest.raises(ConfigError, match="has 2 images with the name"):
        choose_edition((both[1], both[1]), (CONSUMER,), file="w.iso")


def test_an_image_is_found_by_the_name_that_setup_shows() -> None:
    shown = (Edition(1, "Windows 10 Home", display="Windows 11 Home"), Edition(2, "Windows 10 Pro", display="Windows 11 Pro"))
    assert choose_edition(shown, ("Windows 11 Enterprise", CONSUMER), file="w.iso").index == 2
    with pytest.raises(ConfigError, match=r"2: Windows 10 Pro \(Windows 11 Pro\)"):
        choose_edition(shown, ("Windows 11 Enterprise",), file="w.iso")


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
