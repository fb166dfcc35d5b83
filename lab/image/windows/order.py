"""An order to build a Windows image: the user's ISO and the host are checked before any step that takes time."""

from __future__ import annotations

import datetime

from lab.host.accel import QEMU, choose_accelerator, probe_accelerators
from lab.host.paths import cache_dir, state_dir
from lab.host.qemu import qemu_version
from lab.host.qemumachines import ask_machines, versioned
from lab.image.kind import BuildOrder, BuildRequest
from lab.image.store import list_images
from lab.image.windows.build import BuildOptions, WindowsRecipe, build_log_dir
from lab.image.windows.inputs import UserInputs, read_product_key
from lab.image.windows.install_host import require_accelerator
from lab.image.windows.iso import inspect_iso
from lab.image.windows.iso_check import check_iso
from lab.image.windows.machine import MACHINE
from lab.image.windows.recipe import WindowsRecipeFile


def order_build(recipe: WindowsRecipeFile, request: BuildRequest) -> BuildOrder:
    """Check what the user gave, and this host; see :meth:`lab.image.kind.GuestKind.order`.

    Args:
        recipe: What to install.
        request: The options are those of :class:`lab.image.windows.kind.WindowsKind`; ``iso`` is among them.
    """
    options = request.options
    key_file = options.get("product_key_file")
    given = UserInputs(
        iso=options["iso"],
        openssh_msi=options.get("openssh_msi"),
        product_key=read_product_key(key_file) if key_file else None,
        certificates=tuple(options.get("certificate") or ()),
    )
    iso = inspect_iso(given.iso)
    check_iso(iso, iso.choose(recipe.editions), recipe, product_key=given.product_key is not None)
    found = probe_accelerators(cache_dir())
    allow_tcg = bool(options.get("allow_tcg"))
    built_before = any(image.manifest.name == recipe.name for image in list_images(cache=request.cache))
    if not built_before or request.force:
        require_accelerator(found.kvm.usable, allow_tcg)
    build = BuildOptions(
        accelerator=choose_accelerator("auto", found),
        log_dir=build_log_dir(state_dir(), recipe.name, datetime.datetime.now(datetime.UTC)),
        keep_failed=bool(options.get("keep")),
        qemu=qemu_version(QEMU),
        machine=versioned(MACHINE, ask_machines(QEMU)),
        before=lambda: require_accelerator(found.kvm.usable, allow_tcg),
    )
    return BuildOrder(
        lambda progress: WindowsRecipe(recipe, given, build, progress, cache=request.cache), log_dir=build.log_dir
    )
