# What one does here. `tests/tools just` installs this program; every recipe is a line that works without it too.

set positional-arguments

export OUTRIGGER_TOOLS := env("OUTRIGGER_TOOLS", home_directory() / ".cache/outrigger-tools")
export PATH := OUTRIGGER_TOOLS / "bin" + ":" + env("PATH")

# Lists the recipes.
default:
    @just --list

# Formats the code.
fmt:
    cargo fmt --all

# Format, lints, documentation, licences and bans, lint of the contracts.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
    cargo deny --locked --log-level error check licenses bans sources
    cd proto && buf lint

# All tests, or those whose name contains the filter.
test *filter:
    cargo test --workspace -- "$@"

# One suite: mesh, shop, consul, interop or workspace.
suite name *filter:
    @shift; cargo test -p outrigger-tests --test "{{ name }}" -- "$@"

# What CI runs.
ci:
    .ci/run

# Installs the foreign programs that some tests talk to, all or those named.
tools *names:
    tests/tools "$@"

# Starts the shop.
up *args:
    cargo run --release -- up "$@"

# A comparison: `just bench pair`, or `just bench pair --smoke` for the short form.
bench *args="pair":
    cargo run --release -p outrigger-bench -- "$@"
