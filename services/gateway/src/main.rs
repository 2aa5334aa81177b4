//! The service as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    shop_chassis::main(shop_gateway::serve)
}
