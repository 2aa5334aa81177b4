//! Compiles the contracts without `protoc`.
//!
//! The descriptor set is written as the bytes that protox encoded. It must never pass through
//! `prost_types`: prost drops what it does not know, and with it every HTTP rule, validation rule and
//! method option. The comments of vendored files are left out, at the level of bytes too: they are
//! two thirds of the set and nobody asks for them.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// The folders that hold contracts, ours first.
const FOLDERS: [&str; 4] = ["shop", "google", "buf", "grpc"];
/// `FileDescriptorSet.file`, `FileDescriptorProto.name` and `.source_code_info`.
const FILE: u64 = 1;
const NAME: u64 = 1;
const SOURCE_CODE_INFO: u64 = 9;

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(required("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(required("OUT_DIR")?);
    let mut files = Vec::new();
    for folder in FOLDERS {
        println!("cargo:rerun-if-changed={folder}");
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(&files)?;
    let set = without_vendored_comments(&compiler.encode_file_descriptor_set())?;
    fs::write(out.join("descriptors.binpb"), set)?;

    tonic_prost_build::configure()
        .generate_default_stubs(true)
        .disable_comments([".buf", ".google", ".grpc"])
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// A variable that cargo sets for every build script.
fn required(name: &str) -> Result<String, Box<dyn Error>> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a build script gets its folders from cargo's environment"
    )]
    let value = std::env::var(name)?;
    Ok(value)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            files.push(path);
        }
    }
    Ok(())
}

fn without_vendored_comments(set: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut out = Vec::with_capacity(set.len());
    for entry in fields(set)? {
        if entry.number != FILE {
            return Err("a descriptor set holds files only".into());
        }
        let parts = fields(entry.payload)?;
        let ours = parts
            .iter()
            .any(|part| part.number == NAME && part.payload.starts_with(b"shop/"));
        let file: Vec<u8> = parts
            .iter()
            .filter(|part| ours || part.number != SOURCE_CODE_INFO)
            .flat_map(|part| part.whole.iter().copied())
            .collect();
        out.push(0x0a);
        push_varint(&mut out, file.len() as u64);
        out.extend(file);
    }
    Ok(out)
}

/// One field of a serialised message.
struct Field<'a> {
    number: u64,
    payload: &'a [u8],
    whole: &'a [u8],
}

fn fields(message: &[u8]) -> Result<Vec<Field<'_>>, Box<dyn Error>> {
    let mut found = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let start = rest;
        let tag = take_varint(&mut rest)?;
        let length = match tag & 7 {
            0 => {
                take_varint(&mut rest)?;
                0
            }
            2 => usize::try_from(take_varint(&mut rest)?)?,
            other => return Err(format!("wire type {other} in a descriptor").into()),
        };
        let (payload, after) = rest.split_at_checked(length).ok_or("cut short")?;
        rest = after;
        found.push(Field {
            number: tag >> 3,
            payload,
            whole: &start[..start.len() - rest.len()],
        });
    }
    Ok(found)
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, Box<dyn Error>> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or("cut short")?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number of more than 64 bits".into())
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
