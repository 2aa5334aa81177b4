//! The `outrigger` binary: parse, run, exit code.

use std::process::ExitCode;

mod config_entry;
mod exec;
mod mesh_file;
mod output;
mod plan;
mod run_folder;
mod shop;
mod supervise;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::SUCCESS
}
