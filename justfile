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

# The suites at their full sizes, one after the other, which takes about an hour and a half. `OUTRIGGER_BIN` names the sidecars' program.
full:
    OUTRIGGER_METADATA_CASES=10000 OUTRIGGER_DEADLINES=1000 OUTRIGGER_LATE_MILLIS=20 cargo test --workspace --test mesh -- c10_ c11_
    OUTRIGGER_REFUSED_CALLS=10000 OUTRIGGER_DRAINS=1000 cargo test --workspace --test mesh -- d1_ d7_
    OUTRIGGER_ROLLING_ROUNDS=4 OUTRIGGER_ROLLING_RATE=500 OUTRIGGER_ROLLING_STREAMS=100 OUTRIGGER_ROLLING_SECONDS=26 cargo test --workspace --test mesh -- d5_
    OUTRIGGER_DIALS=20000 cargo test --workspace --test mesh -- d8_
    OUTRIGGER_INSTANCE_LOST_SECONDS=30 cargo test --workspace --test mesh --test shop -- instance_lost
    OUTRIGGER_STORM_SECONDS=60 OUTRIGGER_TINY_MESSAGES=4000 OUTRIGGER_CANCELLED=5000 OUTRIGGER_MALFORMED=5000 cargo test --workspace --test mesh -- b2_ b4_ b5_ b6_ b24_ --test-threads=1
    OUTRIGGER_ATTACKERS=50 OUTRIGGER_ATTACK_MILLIS=10000 OUTRIGGER_ATTACK_SLACK=1 cargo test --workspace --test mesh -- b1_ --test-threads=1
    OUTRIGGER_SLOW_PEERS=1000 OUTRIGGER_SLOW_LATE_MILLIS=1000 cargo test --workspace --test mesh -- b3_ b7_ --test-threads=1
    OUTRIGGER_STREAM_MIB=4096 cargo test --workspace --test mesh -- streaming
    OUTRIGGER_SOAK_RATE=1000 OUTRIGGER_SOAK_SECONDS=600 cargo test --workspace --test mesh -- k2_
    OUTRIGGER_ROTATION_SECONDS=60 OUTRIGGER_REGISTRY_AWAY_SECONDS=60 cargo test --workspace --test mesh -- rotation registry_away --test-threads=1
    OUTRIGGER_SOAK_CALLS=10000 OUTRIGGER_SOAK_CHANNELS=1000 cargo test --workspace --test interop -- c6_
    OUTRIGGER_CASELIST_CALLS=1000 OUTRIGGER_CASELIST_CHANNELS=100 OUTRIGGER_CASELIST_CONCURRENT=1000 OUTRIGGER_CASELIST_PAUSE_MILLIS=20000 cargo test --workspace --test interop -- c5_ --test-threads=1
