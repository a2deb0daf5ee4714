//! The program as its users run it.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

pub const BINARY: &str = env!("CARGO_BIN_EXE_twindex");

pub fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// A server, killed at the end if it was not stopped.
pub struct Serving {
    child: Child,
    pub address: String,
}

impl Serving {
    pub fn start(data: &Path) -> Self {
        let address = free_address();
        let mut serve = Command::new(BINARY);
        serve
            .args(["serve", "--quiet", "--listen", &address, "--data"])
            .arg(data);
        Self::run(serve, address)
    }

    /// Runs a command and waits until something listens.
    pub fn run(mut command: Command, address: String) -> Self {
        let child = command.spawn().unwrap();
        let mut serving = Self { child, address };
        let began = Instant::now();
        while std::net::TcpStream::connect(&serving.address).is_err() {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "the server does not answer"
            );
            assert!(
                serving.child.try_wait().unwrap().is_none(),
                "the server has ended"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        serving
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Asks it to stop, as a supervisor does; its exit code.
    pub fn stop(mut self) -> Option<i32> {
        Command::new("kill")
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn twindex(args: &[&str]) -> Output {
    Command::new(BINARY)
        .args(args)
        .env_remove("TWINDEX_SERVER")
        .output()
        .unwrap()
}
