#!/usr/bin/env bash
# With -frandom-seed (which makes builds with --coverage reproducible) GCC gives each build the same stamp, 0xffffffff, in the notes
# (.gcno) and the counters (.gcda). The stamp is gcov's check that counters belong to the notes. So gcov takes the counters of another
# build for those of this one, without a word and with exit code 0, as long as the flow of the functions is the same: a source whose
# `n > 3` has become `n < 3` shows the line as executed that it can no longer reach. Without the option gcov reports a
# "stamp mismatch with notes file" and counts nothing. The manual of -frandom-seed says that it replaces random numbers, also those
# of "unique stamps in coverage data files and the object files that produce them", by different ones for each file name.
#
# Versions: Debian 13 (trixie), gcc-14 14.2.0. GCC 12.2.0 of Debian 12 and mingw-w64's GCC 12 do the same.
#
# Output seen:
#   without: stamp mismatch with notes file, line 4 #####
#   -frandom-seed=1: no complaint, line 4 1
#
# Needs mmdebstrap and root (or user namespaces). Ends with 0 while it is so, with 1 when that has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
mmdebstrap --quiet --variant=apt --include=gcc-14,libc6-dev trixie "$work/root" >&2
chroot "$work/root" dpkg-query -W -f '${Package} ${Version}\n' gcc-14
source='int f(int n)\n{\n    if (n > 3)\n        return 1;\n    return 2;\n}\nint main(void) { return f(5) - 1; }\n'
report() {
    local folder="$work/root/tmp/counted" said line
    rm -rf "$folder"
    mkdir -p "$folder/new"
    printf "$source" >"$folder/a.c"
    printf "${source/>/<}" >"$folder/new/a.c"
    chroot "$work/root" sh -c "cd /tmp/counted && gcc-14 --coverage $* -c a.c -o a.o && gcc-14 --coverage a.o -o a && ./a"
    sleep 1 # the stamp without the option is a time
    chroot "$work/root" sh -c "cd /tmp/counted/new && gcc-14 --coverage $* -c a.c -o a.o && cp ../a.gcda ."
    said=$(chroot "$work/root" sh -c 'cd /tmp/counted/new && gcov-14 a.gcda 2>&1' | sed -n 's/^a.gcda://p')
    line=$(sed -n 's/^ *\([^: ]*\): *4:.*/\1/p' "$folder/new/a.c.gcov")
    echo "${said:-no complaint}, line 4 $line"
}
without=$(report)
seeded=$(report -frandom-seed=1)
printf 'without: %s\n-frandom-seed=1: %s\n' "$without" "$seeded"
[[ $without == 'stamp mismatch with notes file, line 4 #####' && $seeded == 'no complaint, line 4 1' ]]
