//! Compiles the contract in pure Rust: no protoc is needed.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let services = ["collection", "item", "search", "decision", "calibration"];
    let files = services.map(|s| format!("proto/twindex/v1/{s}_service.proto"));
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

    tonic_prost_build::configure()
        .bytes(".")
        .extern_path(".google.rpc", "::tonic_types")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
