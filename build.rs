//! Compiles the contract in pure Rust: no protoc is needed.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let services = [
        "collection",
        "item",
        "search",
        "decision",
        "model",
        "calibration",
    ];
    let files = services.map(|s| format!("proto/twindex/v1/{s}_service.proto"));
    let operations = "proto/google/longrunning/operations.proto";
    println!("cargo:rerun-if-changed=proto");

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_source_info(true)
        .include_imports(true)
        .open_files(files)?;
    // With the comments, so that reflection documents every field.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(
        out.join("twindex.bin"),
        compiler.encode_file_descriptor_set(),
    )?;

    let configured = || {
        tonic_prost_build::configure()
            .bytes(".")
            .extern_path(".google.rpc", "::tonic_types")
    };
    configured()
        .extern_path(".google.longrunning", "crate::grpc::longrunning")
        .compile_fds(compiler.file_descriptor_set())?;
    // After ours, which only name it: what they leave of its package is written over.
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).open_files([operations])?;
    configured().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
