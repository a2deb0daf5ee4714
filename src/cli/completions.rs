//! `twindex completions`: a completion script for a shell.

use super::error::CliError;
use super::output::Output;
use clap::CommandFactory;

/// Options of `completions`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Runs the command.
///
/// # Errors
/// Standard output cannot be written to.
pub fn run(args: &Args, out: &Output) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut super::Cli::command(),
        "twindex",
        &mut script,
    );
    out.line(String::from_utf8_lossy(&script).trim_end())
}
