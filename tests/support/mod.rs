//! The program as its users run it.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

pub const BINARY: &str = env!("CARGO_BIN_EXE_twindex");

/// A server, killed at the end if it was not stopped.
pub struct Serving {
    child: Child,
    /// Host and port.
    pub address: String,
}

impl Serving {
    pub fn start(data: &Path) -> Self {
        let mut serve = Command::new(BINARY);
        serve
            .args(["serve", "--quiet", "--listen", "127.0.0.1:0", "--data"])
            .arg(data);
        Self::run(serve)
    }

    /// Runs a command that serves, and reads where from what it prints when it is ready.
    ///
    /// A port chosen here and handed over would be a race: a child of another thread holds
    /// every socket between its fork and its exec.
    pub fn run(mut serve: Command) -> Self {
        let serve = serve.arg("--json").stdout(Stdio::piped());
        let mut child = serve.spawn().unwrap();
        let printed = child.stdout.take().unwrap();
        let mut printed = serde_json::Deserializer::from_reader(printed).into_iter();
        let Some(Ok(ready)) = printed.next() else {
            panic!("the server has ended: {:?}", child.wait());
        };
        let ready: serde_json::Value = ready;
        let url = ready["url"].as_str().unwrap();
        Self {
            child,
            address: url.strip_prefix("http://").unwrap().to_owned(),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop, as a supervisor does; its exit code.
    pub fn stop(mut self) -> Option<i32> {
        // The shell's own `kill`: a program of that name is not everywhere.
        Command::new("sh")
            .args(["-c", "kill $0", &self.child.id().to_string()])
            .status()
            .unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Serving {
    /// SIGKILL: nothing is flushed, nothing is closed.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn twindex(args: &[&str]) -> Output {
    Command::new(BINARY)
        .args(args)
        .env_remove("TWINDEX_SERVER")
        .env_remove("TWINDEX_BACKBONE")
        .output()
        .unwrap()
}

/// Says that a test is skipped, unless the variable forbids that. Written past the harness,
/// which keeps what a passing test prints to itself.
pub fn skip(forbidden_by: &str, why: &str) {
    assert!(std::env::var_os(forbidden_by).is_none(), "{why}");
    let _ = std::io::stderr().write_all(format!("SKIPPED: {why}\n").as_bytes());
}

/// Unzips Omniglot's validation images.
pub fn omniglot(into: &Path) -> Result<(), String> {
    let zip =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/omniglot/images_validation.zip");
    if !zip.is_file() {
        return Err(format!("{} is not there", zip.display()));
    }
    let mut unzip = Command::new("python3");
    let unzip = unzip.args(["-m", "zipfile", "-e"]).arg(&zip).arg(into);
    match unzip.status() {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!(
            "python3 did not unzip {}: {other:?}",
            zip.display()
        )),
    }
}
