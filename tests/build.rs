//! Compiles the contract of the case list, which is the tests' own and no part of what the mesh knows, without `protoc`.

use std::error::Error;

const FOLDER: &str = "programs/caselist";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={FOLDER}/testing.proto");
    let files = protox::compile(["testing.proto"], [FOLDER])?;
    tonic_prost_build::configure()
        .generate_default_stubs(true)
        .compile_fds(files)?;
    Ok(())
}
