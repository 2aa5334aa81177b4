//! The `outrigger` binary: parse, run, exit code.

use std::process::ExitCode;

mod command;

mod down;
mod exec;
mod registry;
mod run;
mod shop;
mod sidecar;
mod status;
mod token;
mod up;

mod config_entry;
mod environment;
mod mesh_file;
mod output;
mod plan;
mod run_folder;
mod run_record;
mod serve;
mod socket_table;
mod supervise;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let environment = match environment::Environment::from_process() {
        Ok(environment) => environment,
        Err(err) => {
            output::Output::new(true)
                .error(&format!("cannot find this program or its folder: {err}"));
            return ExitCode::FAILURE;
        }
    };
    let output = output::Output::new(environment.get("NO_COLOR").is_some());
    match command::Command::from_process() {
        Ok(command) => command.run(&environment, &output),
        Err(code) => code,
    }
}
