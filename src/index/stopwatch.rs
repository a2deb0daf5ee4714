//! Time that this thread worked, whatever others do to the machine meanwhile.

use std::time::Duration;

/// A moment of this thread's work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stopwatch(Duration);

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self(worked())
    }

    /// How long the thread has worked since.
    pub(super) fn elapsed(self) -> Duration {
        worked().saturating_sub(self.0)
    }
}

#[cfg(target_os = "linux")]
fn worked() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

/// Elsewhere, time that passed.
#[cfg(not(target_os = "linux"))]
fn worked() -> Duration {
    static FIRST: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    FIRST.get_or_init(std::time::Instant::now).elapsed()
}
