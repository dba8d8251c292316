# Sourced by the scripts in deploy/ and tests/: what they install, and how. Everything is named before it is installed:
# Debian packages, and only for some jobs zig from PyPI and cargo's tools from crates.io.
# shellcheck shell=bash disable=SC2034

# The oldest Rust that builds lancam, as Cargo.toml's rust-version has it.
RUST_NEEDED=1.85
# What the build needs besides Rust: turbojpeg is compiled (cmake, nasm), v4l reads the kernel's headers (libclang).
BUILD_PACKAGES=(gcc g++ make cmake nasm clang libclang-dev libc6-dev pkg-config ca-certificates)

say() { printf '== %s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"
    elif have sudo; then sudo "$@"
    else die "needs root to run '$*': run this as root, or install sudo"
    fi
}

is_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# apt's lists may be old or, on a bare system, missing: update them once a run, and only if a package is missing.
apt_update() {
    [ -z "${APT_UPDATED:-}" ] || return 0
    have apt-get || die "this system has no apt-get: install Rust $RUST_NEEDED and the equivalents of these by hand: $*"
    say "apt-get update"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    APT_UPDATED=1
}

# apt_install PACKAGE...: those that are missing.
apt_install() {
    local package missing=()
    for package in "$@"; do is_installed "$package" || missing+=("$package"); done
    [ ${#missing[@]} -gt 0 ] || return 0
    apt_update "${missing[@]}"
    say "installing with apt: ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# at_least VERSION MINIMUM
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# rust_ok DIRECTORY-PREFIX: whether cargo and rustc there are new enough. A rustup shim without a toolchain is not.
rust_ok() {
    local cargo rustc
    cargo=$("${1}cargo" --version 2>/dev/null) || return 1
    rustc=$("${1}rustc" --version 2>/dev/null) || return 1
    at_least "$(cut -d' ' -f2 <<<"$cargo")" "$RUST_NEEDED" && at_least "$(cut -d' ' -f2 <<<"$rustc")" "$RUST_NEEDED"
}

# The version apt would install, or nothing.
apt_candidate() { LC_ALL=C apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p' | grep -v '(none)' || true; }

# Makes cargo and rustc new enough, from Debian: 'rustc' where it is (Debian 13), else 'rustc-web', the newer
# one that Debian 12 has for its browsers.
ensure_rust() {
    if rust_ok ""; then return 0; fi
    if [ -x "$HOME/.cargo/bin/cargo" ] && rust_ok "$HOME/.cargo/bin/"; then
        export PATH="$HOME/.cargo/bin:$PATH"
        return 0
    fi
    if ! rust_ok /usr/bin/; then install_rust; fi
    # Ahead of an older cargo elsewhere.
    export PATH="/usr/bin:$PATH"
    rust_ok "" || die "Rust was installed with apt, but $(command -v cargo) is still older than $RUST_NEEDED"
}

install_rust() {
    local suffix version
    apt_update rustc cargo
    for suffix in "" -web; do
        version=$(apt_candidate "rustc$suffix")
        if [ -n "$version" ] && at_least "$version" "$RUST_NEEDED"; then
            # rustc-web replaces an old rustc, which apt removes.
            apt_install "rustc$suffix" "cargo$suffix"
            return 0
        fi
    done
    die "apt has no Rust $RUST_NEEDED or newer (looked for rustc and rustc-web); install it from https://rustup.rs and run this again"
}

# has_rust_source DIRECTORY-PREFIX: whether rustc there comes with the source of the standard library.
has_rust_source() {
    local sysroot
    sysroot=$("${1}rustc" --print sysroot 2>/dev/null) && [ -e "$sysroot/lib/rustlib/src/rust/library/Cargo.lock" ]
}

# Rust with the source of its standard library, which is compiled for boards.
ensure_rust_source() {
    ensure_rust
    has_rust_source "" && return 0
    if ! rust_ok /usr/bin/; then install_rust; fi
    if is_installed rustc-web; then apt_install rust-web-src; else apt_install rust-src; fi
    export PATH="/usr/bin:$PATH"
    has_rust_source "" || die "apt installed Rust's source, but $(command -v rustc) does not find it"
}

# Zig as a C compiler and linker for every ARM board, and cargo-zigbuild, which lets cargo use it: PyPI has both ready-made.
ZIG_VERSION=0.15.2
ZIGBUILD_VERSION=0.24.0

# ensure_zig DIRECTORY: kept there.
ensure_zig() {
    local place=$1/zig-$ZIG_VERSION-$ZIGBUILD_VERSION
    if [ ! -x "$place/bin/cargo-zigbuild" ]; then
        apt_install python3-venv
        say "installing ziglang $ZIG_VERSION and cargo-zigbuild $ZIGBUILD_VERSION from PyPI into $place"
        rm -rf "$place"
        /usr/bin/python3 -m venv "$place"
        "$place/bin/pip" install --quiet --disable-pip-version-check "ziglang==$ZIG_VERSION" "cargo-zigbuild==$ZIGBUILD_VERSION" ||
            { rm -rf "$place"; die "cannot install zig from PyPI"; }
    fi
    export PATH="$PATH:$place/bin" CARGO_ZIGBUILD_ZIG_PATH=$place/bin/python-zig
    [ -x "$CARGO_ZIGBUILD_ZIG_PATH" ] || CARGO_ZIGBUILD_ZIG_PATH=$(find "$place" -path '*/ziglang/zig' -type f | head -n 1)
    ZIG_HEADERS=$(find "$place" -path '*/ziglang/lib/libc/include' -type d | head -n 1)
}

# headers_of_zig ARCHITECTURE LIBC: clang's options for what bindgen reads, the kernel's headers among them; LIBC is musl or glibc.
headers_of_zig() {
    local folder architecture=${1/armv7/arm}
    for folder in "$architecture-linux-${2/glibc/gnu}" "generic-$2" "$architecture-linux-any" any-linux-any; do
        printf -- '-isystem %s/%s ' "$ZIG_HEADERS" "$folder"
    done
}

# What a binary is and needs, read from the file.
architecture_of() {
    local header attributes
    header=$(readelf -h "$1" | sed -n 's/^ *Machine: *//p')
    attributes=$(readelf -A "$1" | sed -n 's/^ *Tag_CPU_arch: *//p; s/^ *Tag_FP_arch: *//p; s/^ *Tag_Advanced_SIMD_arch: *//p' | paste -sd ' ')
    printf '%s\n' "$header${attributes:+, $attributes}"
}
libraries_of() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | paste -sd ' '; }
glibc_of() {
    local version
    version=$(readelf -V "$1" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
    if [ -n "$version" ]; then printf '%s or newer\n' "${version#GLIBC_}"; else echo "not needed"; fi
}

# simd_of TARGET LIBRARY: which SIMD libjpeg-turbo has there. It must have NEON, and on ARMv7 unconditionally: a
# library that reads /proc/cpuinfo first falls back to plain C where that is silent.
simd_of() {
    local functions
    functions=$(nm "$2" 2>/dev/null | grep -c ' T _\{0,1\}jsimd_.*_\(neon\|avx2\|sse2\)$' || true)
    case $1 in
        armv6hf) echo "plain C (this processor has no NEON)"; return ;;
        armv7hf) ! strings "$2" | grep -q /proc/cpuinfo || die "$2 decides about NEON at run time" ;;
    esac
    [ "$functions" -gt 0 ] || die "$2 was built without SIMD"
    echo "$functions SIMD functions ($([ "$1" = x86_64 ] && echo 'SSE2, AVX2' || echo NEON))"
}

# ensure_cargo_tool DIRECTORY TOOL VERSION: from crates.io, kept there.
ensure_cargo_tool() {
    export PATH="$1/bin:$PATH"
    "$2" --version 2>/dev/null | grep -qF "$3" && return 0
    "$2" "${2#cargo-}" --version 2>/dev/null | grep -qF "$3" && return 0
    say "installing $2 $3 from crates.io into $1: this takes some minutes, once"
    # They run for seconds: what counts is how long they take to build.
    CARGO_TARGET_DIR=$1/build CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=1 \
        cargo install --quiet --locked --debug --root "$1" --version "$3" "$2" || die "cannot build $2"
    rm -rf "$1/build"
}
