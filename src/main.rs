//! Parse, run, exit code.

use std::process::ExitCode;

/// Fewer page faults than the system's allocator where tensors come and go.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    twindex::cli::main()
}
