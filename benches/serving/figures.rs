//! What is made of many measurements.

use std::fs;

/// Measurements of one thing.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<f64>);

impl FromIterator<f64> for Figures {
    fn from_iter<I: IntoIterator<Item = f64>>(all: I) -> Self {
        let mut all: Vec<f64> = all.into_iter().collect();
        all.sort_by(f64::total_cmp);
        Self(all)
    }
}

impl Figures {
    /// What a share of them is below; 0 if there are none.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let place = (self.0.len() as f64 * share) as usize;
        self.0.get(place).copied().unwrap_or_default()
    }

    pub(crate) fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.len().max(1) as f64
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Seconds of CPU that a process has taken, where the system tells.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after.split_whitespace().skip(11).take(2);
    ticks.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Seconds of CPU that all processes have taken, where the system tells.
pub(crate) fn all_cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let all = stat.lines().next().unwrap_or_default();
    let ticks = all.split_whitespace().skip(1).map_while(|t| t.parse().ok());
    let idle = [3, 4];
    let busy = ticks
        .enumerate()
        .filter(|(place, _)| *place < 8 && !idle.contains(place));
    busy.map(|(_, ticks): (_, f64)| ticks).sum::<f64>() / 100.0
}

/// What the server, this process and all others take of the CPU.
pub(crate) struct Spent {
    server: u32,
    before: [f64; 3],
}

impl Spent {
    pub(crate) fn since_now(server: u32) -> Self {
        let before = Self::now(server);
        Self { server, before }
    }

    fn now(server: u32) -> [f64; 3] {
        let (server, client) = (cpu_seconds(server), cpu_seconds(std::process::id()));
        [server, client, all_cpu_seconds() - server - client]
    }

    /// Seconds of the server, of this process, and of all others.
    pub(crate) fn seconds(&self) -> [f64; 3] {
        let now = Self::now(self.server);
        // The clocks of processes and of the machine are not read at once.
        [0, 1, 2].map(|who| (now[who] - self.before[who]).max(0.0))
    }
}

/// Memory of a process in MiB, where the system tells.
pub(crate) fn memory(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    kib.unwrap_or(0.0) / 1024.0
}
