"""The key of a template: everything that a template is made of, and no file that another run may have changed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from lab.live.payload import Payload
from lab.snapshot.template import TemplateWish
from tests.simulated import manifest
from tests.snapshot.fakes import BASE, PLAIN, World, values
from tests.snapshot.folders import fill


def test_the_key_follows_from_all_that_a_template_is_made_of(world: World, tmp_path: Path) -> None:
    wish = world.wish
    other_client = Payload(drivers=wish.payload.drivers, clients={"drvprobe": tmp_path / "other.exe"})
    (tmp_path / "other.exe").write_bytes(b"other")
    keys = [
        wish.key,
        wish.of(smp=2, drivers=()).key,
        wish.of(smp=1, drivers=(), clock="virtual").key,
        wish.of(smp=1, drivers=("sync",)).key,
        TemplateWish(**{**values(wish), "qemu": "8.2"}).key,
        TemplateWish(**{**values(wish), "transport": "ssh"}).key,
        TemplateWish(**{**values(wish), "accelerator": "kvm"}).key,
        TemplateWish(**{**values(wish), "payload": other_client}).key,
        TemplateWish(**{**values(wish), "manifest": manifest(key="4567")}).key,
    ]
    (wish.image_dir / "disk.qcow2").write_bytes(b"built anew")
    keys.append(wish.key)
    assert len(set(keys)) == len(keys)
    assert wish.key == wish.key


def test_a_template_whose_guest_had_other_files_is_made_anew(world: World) -> None:
    """A file that changed between its hash and its copy was used in every later run, under the hash of the first."""
    key = world.wish.key
    sums = world.wish.payload.sums()
    for files, made in (({**sums, "sim.sys": "00" * 32}, [BASE, ()]), (sums, [])):
        world.store.prune()
        world.store.make("wine", key, partial(fill, key=key, files=files))
        world.maker.made.clear()
        forks = world.make()
        assert forks.template(PLAIN) is not None
        assert world.maker.made == made
        forks.close()


def test_the_key_is_that_of_the_copy_even_if_the_original_changes(tmp_path: Path, world: World) -> None:
    original = tmp_path / "original.sys"
    driver = world.wish.payload.driver("sync")
    original.write_bytes(driver.image.read_bytes())
    copied = Payload(drivers={"sync": replace(driver, origin=original)}, clients=world.wish.payload.clients)
    wish = replace(world.wish, payload=copied)
    key = wish.key
    original.write_bytes(b"built anew while the guest boots")
    assert wish.key == key
    staged = copied.stage(tmp_path / "stage")
    assert (staged / driver.image.name).read_bytes() == driver.image.read_bytes()
