//! Progress: a bar on a terminal, a line now and then elsewhere.

use super::output::Output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How often a line is printed where there is no terminal.
const EVERY: Duration = Duration::from_secs(5);

/// How far something came, how fast it goes, and how long it will take.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    lines: Option<Lines>,
}

#[derive(Debug)]
struct Lines {
    out: Output,
    what: String,
    began: Instant,
    last: Mutex<Instant>,
}

impl Bar {
    /// Progress of `total` things.
    #[must_use]
    pub fn new(out: &Output, what: &str, total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        let mut lines = None;
        if out.shows_progress() && std::io::stderr().is_terminal() {
            let template = "{msg} {wide_bar} {pos}/{len}  {per_sec}  {eta} left";
            bar.set_style(
                ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.set_message(what.to_owned());
            bar.set_draw_target(ProgressDrawTarget::stderr());
        } else if out.shows_progress() {
            lines = Some(Lines {
                out: *out,
                what: what.to_owned(),
                began: Instant::now(),
                last: Mutex::new(Instant::now()),
            });
        }
        Self { bar, lines }
    }

    /// So many more are done.
    pub fn add(&self, n: u64) {
        self.bar.inc(n);
        if let Some(lines) = &self.lines {
            lines.tell(&self.bar);
        }
    }

    /// All is done; the bar goes.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Lines {
    fn tell(&self, bar: &ProgressBar) {
        let Ok(mut last) = self.last.try_lock() else {
            return;
        };
        if last.elapsed() < EVERY {
            return;
        }
        *last = Instant::now();
        let (done, total) = (bar.position(), bar.length().unwrap_or(0));
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = done as f64 / self.began.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
        let left = total.saturating_sub(done) as f64 / rate.max(1e-9);
        self.out.note(&format!(
            "{}: {done}/{total}, {rate:.0} a second, {left:.0} s left",
            self.what
        ));
    }
}
