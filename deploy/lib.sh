# Sourced by deploy/quickstart and tests/run: what they install, and how. Debian packages only, and each
# one is named before it is installed.
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

# apt's lists may be old or, on a bare system, not there at all: read anew once a run, and only if something is missing.
apt_update() {
    [ -z "${APT_UPDATED:-}" ] || return 0
    have apt-get || die "this system has no apt-get: install Rust $RUST_NEEDED and the counterparts of these by hand: $*"
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
    # An older cargo elsewhere must not be found first.
    export PATH="/usr/bin:$PATH"
    rust_ok "" || die "Rust was installed with apt, yet $(command -v cargo) is older than $RUST_NEEDED"
}

install_rust() {
    local suffix version
    apt_update rustc cargo
    for suffix in "" -web; do
        version=$(apt_candidate "rustc$suffix")
        if [ -n "$version" ] && at_least "$version" "$RUST_NEEDED"; then
            # rustc-web takes the place of an old rustc: apt removes that one.
            apt_install "rustc$suffix" "cargo$suffix"
            return 0
        fi
    done
    die "apt has no Rust $RUST_NEEDED or newer (looked for rustc and rustc-web); install it from https://rustup.rs and run this again"
}
