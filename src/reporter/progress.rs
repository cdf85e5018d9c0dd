//! A bar for the sweep and a line for each running iteration, on a terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Reporter, Running, plain, printable};
use crate::model::stop::Live;
use crate::model::{Event, Tally};

/// Lines shown for running iterations; beyond that the screen would be all lines.
const MOST_LINES: usize = 16;

/// The bar and its lines.
pub(super) struct Bars {
    screen: MultiProgress,
    sweep: ProgressBar,
    figures: ProgressBar,
    lines: BTreeMap<String, ProgressBar>,
    /// Iterations recorded before this process began; they say nothing about its speed.
    before: Option<u32>,
}

impl Bars {
    pub(super) fn new() -> Bars {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let sweep = screen.add(ProgressBar::new(0));
        sweep.set_style(style("{bar:24.cyan/blue} {pos}/{len}  {msg}"));
        let figures = screen.add(ProgressBar::new_spinner());
        figures.set_style(style("{wide_msg}"));
        Bars {
            screen,
            sweep,
            figures,
            lines: BTreeMap::new(),
            before: None,
        }
    }
}

/// A bar for work that is counted, shown on a terminal only.
pub struct Counting(ProgressBar);

impl Counting {
    /// A bar for `total` steps, each of which is `done` afterwards.
    #[must_use]
    pub fn new(total: u64, done: &'static str) -> Counting {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
        bar.set_style(style("{bar:24.cyan/blue} {pos}/{len} {msg}  {eta} left"));
        bar.set_message(done);
        Counting(bar)
    }

    /// One step is done.
    pub fn step(&self) {
        self.0.inc(1);
    }

    /// Does something that may print, without the bar in its way.
    pub fn beside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.0.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the template is a constant that was tried")
        .progress_chars("━╸─")
}

impl Reporter for Bars {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let tally = &event.tally;
        let before = *self.before.get_or_insert(tally.recorded());
        if let Some(line) = plain::line(event, false) {
            self.screen.println(line)?;
        }
        self.sweep
            .set_length(u64::from(tally.recorded() + tally.running + tally.pending));
        self.sweep.set_position(u64::from(tally.recorded()));
        self.sweep.set_message(message(tally, event.elapsed_s, before));
        Ok(())
    }

    fn tick(&mut self, running: &[Running], live: &Live) -> io::Result<()> {
        self.figures.set_message(figures(live));
        let shown = running.iter().take(MOST_LINES);
        let shown: BTreeMap<String, &Running> = shown.map(|running| (name(running), running)).collect();
        self.lines.retain(|name, line| {
            let stays = shown.contains_key(name);
            if !stays {
                line.finish_and_clear();
                self.screen.remove(line);
            }
            stays
        });
        for (name, running) in shown {
            let line = self.lines.entry(name.clone()).or_insert_with(|| {
                let line = self.screen.add(ProgressBar::new_spinner());
                line.set_style(style("  {wide_msg}"));
                line
            });
            let elapsed = humantime::format_duration(Duration::from_secs(running.elapsed.as_secs())).to_string();
            line.set_message(format!(
                "{name} {:>7}  {}",
                elapsed.replace(' ', ""),
                printable(&running.last_line)
            ));
            line.tick();
        }
        self.sweep.tick();
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        for line in std::mem::take(&mut self.lines).into_values() {
            line.finish_and_clear();
        }
        self.figures.finish_and_clear();
        self.sweep.finish_and_clear();
        self.screen.clear()
    }
}

/// How a running iteration is called on its line.
fn name(running: &Running) -> String {
    let arm = running.arm.as_ref().map_or_else(String::new, |arm| format!("{arm} "));
    format!("{arm}run{:03}", running.iteration)
}

/// What the counts so far carry, however often one looks at it.
fn figures(live: &Live) -> String {
    if live.count.of() == 0 {
        return String::new();
    }
    let percent = |rate: f64| format!("{:.1} %", rate * 100.0);
    let mut text = format!(
        "failed {}/{}, a rate between {} and {}",
        live.count.failed(),
        live.count.of(),
        percent(live.cs_low),
        percent(live.cs_high)
    );
    if let Some(below) = &live.below {
        let _ = write!(
            text,
            "; evidence for less than {}: {:.1} of 20",
            percent(below.rate),
            below.e_value
        );
        if let Some(clean) = below.clean_runs {
            let _ = write!(text, ", {clean} clean runs to go");
        }
    }
    text
}

/// Counts, categories and the time left.
fn message(tally: &Tally, elapsed_s: f64, before: u32) -> String {
    let mut text = format!("{} passed  {} failed", tally.passed, tally.failed);
    if tally.errored > 0 {
        let _ = write!(text, "  {} errored", tally.errored);
    }
    let categories: Vec<String> = tally
        .by_category
        .iter()
        .map(|(id, count)| format!("{id} {count}"))
        .collect();
    if !categories.is_empty() {
        let _ = write!(text, "  ({})", categories.join(", "));
    }
    let done = tally.recorded().saturating_sub(before);
    let left = tally.running + tally.pending;
    if done > 0 && left > 0 {
        let seconds = elapsed_s / f64::from(done) * f64::from(left);
        let left = Duration::from_secs(Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs());
        let _ = write!(text, "  about {} left", humantime::format_duration(left));
    }
    text
}
