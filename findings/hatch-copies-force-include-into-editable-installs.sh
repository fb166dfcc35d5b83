#!/usr/bin/env bash
# hatchling copies what stands under `force-include` of the wheel target into an editable installation, too: a second copy of
# files that the .pth file already reaches in the checkout, and one that does not follow their changes.
#
# Seen with hatchling 1.27.0 (Python 3.11, pip 24): after `pip install -e .`, site-packages holds
#   pkg/_data/words.txt            a copy; it still says "old" when the checkout's file says "new"
# and no pkg/__init__.py, so that site-packages/pkg is a folder which Python takes for a namespace package until it finds the
# real one further on. A build hook that sets build_data["force_include"] for version "standard" alone leaves no such copy.
# Exits 1 when that has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check hatchling==1.27.0 editables==0.5
mkdir -p checkout/pkg checkout/data
touch checkout/pkg/__init__.py
echo old >checkout/data/words.txt
cat >checkout/pyproject.toml <<'TOML'
[build-system]
requires = ["hatchling==1.27.0"]
build-backend = "hatchling.build"

[project]
name = "pkg"
version = "1"

[tool.hatch.build.targets.wheel]
packages = ["pkg"]

[tool.hatch.build.targets.wheel.force-include]
"data" = "pkg/_data"
TOML
env/bin/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e ./checkout
echo new >checkout/data/words.txt
site=$(env/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
imported=$(env/bin/python -c 'import pkg; print(pkg.__file__)')
echo "pkg is imported from ${imported#"$work"/}; site-packages has: $(cd "$site" && find pkg -type f)"
[ "$imported" = "$work/checkout/pkg/__init__.py" ] || exit 1
[ ! -e "$site/pkg/__init__.py" ] || exit 1
[ "$(cat "$site/pkg/_data/words.txt")" = old ] || exit 1
