#!/usr/bin/env bash
# Where gcovr finds a source depends on the version of gcov. Before 14, gcovr reads gcov's text and joins a relative name to the
# folder in which it let gcov run (--gcov-object-directory, or one that it guessed). From 14 on it reads gcov's JSON and joins the
# name to "current_working_directory", which is the folder in which the *compiler* ran, whatever that option says. So a build that
# was copied elsewhere with its notes (.gcno), counters (.gcda) and sources is measured with GCC 12, and with GCC 14 the copy's
# filter matches nothing: the report is empty, and gcovr ends with 0. The original folder may be gone by then.
#
# Versions: Debian 13 (trixie), gcc-12 12.4.0, gcc-14 14.2.0, python3 3.13; gcovr 8.8.
#
# Output seen:
#   gcov 12: sum.c
#   gcov 14: nothing
#
# Needs mmdebstrap and root. Ends with 0 while it is so, with 1 when that has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
mmdebstrap --quiet --variant=apt --include=gcc-12,gcc-14,libc6-dev,python3 trixie "$work/root" >&2
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --target "$work/root/opt/gcovr" --python-version 3.13 --only-binary=:all: gcovr==8.8
chroot "$work/root" dpkg-query -W -f '${Package} ${Version}\n' gcc-12 gcc-14
cat >"$work/root/tmp/run.sh" <<'S'
set -e
export PYTHONPATH=/opt/gcovr
for version in 12 14; do
    first=/tmp/first-$version copy=/tmp/copy-$version
    mkdir -p "$first" "$copy"
    printf 'int main(void)\n{\n    return 0;\n}\n' >"$first/sum.c"
    cd "$first"
    gcc-$version --coverage -c sum.c
    gcc-$version --coverage sum.o -o sum
    ./sum
    mv sum.c sum.gcno sum.gcda "$copy"
    cd "$copy"
    python3 -m gcovr --root "$copy" --gcov-executable gcov-$version --gcov-object-directory "$copy" --json out.json . 2>/dev/null
    printf 'gcov %s: ' "$version"
    python3 -c 'import json; print(" ".join(f["file"] for f in json.load(open("out.json"))["files"]) or "nothing")'
done
S
said=$(chroot "$work/root" env HOME=/root LC_ALL=C bash /tmp/run.sh </dev/null)
echo "$said"
[ "$said" = $'gcov 12: sum.c\ngcov 14: nothing' ]
