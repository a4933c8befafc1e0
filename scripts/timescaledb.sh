#!/bin/sh
# Makes a real TimescaleDB in a folder (default .timescaledb) on Debian, as root or as an ordinary user, without Docker.
#
# apt downloads the packages of Debian trixie with state of its own: the machine's is neither read nor changed. They are
# unpacked, and patchelf points them at their own C library. The mirror is the one that this machine's apt is set to
# use; PENSTOCK_DEBIAN_MIRROR overrides it. Debian builds TimescaleDB under the Apache licence: hypertables, no
# compression.
set -eu

target=${1:-.timescaledb}
patchelf=${PATCHELF:-.venv/bin/patchelf}
suite=trixie
packages="postgresql-17-timescaledb postgresql-17 libc6 libnss-systemd- systemd-"

fail() { echo "timescaledb.sh: $1" >&2; exit 1; }

[ -e "$target/ready" ] && { echo "TimescaleDB is ready in $target"; exit 0; }
for tool in apt-get dpkg-deb dpkg; do
    command -v "$tool" >/dev/null || fail "$tool is missing: this needs Debian or a relative of it; elsewhere use deploy/compose.yaml"
done
[ -x "$patchelf" ] || fail "$patchelf is missing: run 'make' first, or set PATCHELF"

# Both forms of apt's sources: "URIs: ..." with a Suites line that names the machine's Debian, and "deb [...] URI suite ...".
find_mirror() {
    . /etc/os-release
    [ "${ID:-}" = debian ] || return 0
    cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk -v suite="$VERSION_CODENAME" '
        BEGIN { RS = "" } {
            uri = ""; hit = 0; n = split($0, lines, "\n")
            for (i = 1; i <= n; i++) {
                m = split(lines[i], w, " ")
                if (w[1] == "URIs:") uri = w[2]
                if (w[1] == "Suites:") for (j = 2; j <= m; j++) if (w[j] == suite) hit = 1
            }
            if (hit && uri != "") print uri
        }'
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | awk -v suite="$VERSION_CODENAME" '
        $1 == "deb" { i = 2; if ($2 ~ /^\[/) { while ($i !~ /\]$/) i++; i++ } if ($(i + 1) == suite) print $i }'
}
mirror=${PENSTOCK_DEBIAN_MIRROR:-$(find_mirror | head -n 1)}
[ -n "$mirror" ] || fail "no Debian mirror in this machine's apt sources: set PENSTOCK_DEBIAN_MIRROR to one"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keyring" ] || fail "$keyring is missing: install debian-archive-keyring"

mkdir -p "$target"
target=$(cd "$target" && pwd -P)
apt=$target/apt
mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$apt/etc"
: >"$apt/status"
echo "deb [signed-by=$keyring] $mirror $suite main" >"$apt/etc/sources.list"

private_apt() {
    apt-get -q -o Dir::State="$apt/state" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" \
        -o Dir::Etc::sourcelist="$apt/etc/sources.list" -o Dir::Etc::sourceparts=- -o Dir::Etc::preferencesparts=- \
        -o Dir::Etc::preferences=- -o Debug::NoLocking=1 -o APT::Sandbox::User="" -o APT::Install-Recommends=false \
        -o Acquire::Languages=none "$@" >"$apt/log" 2>&1 || { tail -n 5 "$apt/log" >&2; fail "apt-get $1 failed, see $apt/log"; }
}
private_apt update
# shellcheck disable=SC2086 - a list of packages
private_apt install --yes --download-only $packages

# The programs know their place, so they must be unpacked where they will stay. PostgreSQL does not run as root: under
# root it runs as nobody. Where nobody cannot enter the target, the files go where it can.
tree=$target/tree
rm -rf "$tree"
if [ "$(id -u)" = 0 ] && ! setpriv --reuid=nobody --regid=nogroup --clear-groups test -x "$target"; then
    mkdir -p /var/lib/penstock
    tree=$(mktemp -d /var/lib/penstock/timescaledb.XXXXXX)
    ln -s "$tree" "$target/tree"
fi
mkdir -p "$tree"
chmod 755 "$tree"
for package in "$apt"/cache/archives/*.deb; do
    dpkg-deb -x "$package" "$tree"
done

bin=$tree/usr/lib/postgresql/17/bin
machine=$(dpkg --print-architecture)
loader=$(find "$tree/usr/lib" "$tree/lib" "$tree/lib64" -name 'ld-linux*.so.*' 2>/dev/null | head -n 1)
libc=$(find "$tree/usr/lib" -name libc.so.6 | head -n 1)
[ -n "$loader" ] && [ -n "$libc" ] || fail "the downloaded packages hold no C library for $machine"
libraries=$(dirname "$libc")
for program in postgres initdb pg_ctl psql; do
    "$patchelf" --set-interpreter "$loader" --force-rpath --set-rpath "$libraries:$tree/usr/lib/postgresql/17/lib" "$bin/$program"
done
"$bin/postgres" --version
rm -rf "$apt"
ln -sfn "tree/usr/lib/postgresql/17/bin" "$target/bin"
touch "$target/ready"
echo "TimescaleDB is ready in $target"
