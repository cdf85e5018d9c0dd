//! A bar for the sweep and a line for each running iteration, on a terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Reporter, Running, plain, printable};
use crate::judge::OutcomeKind;
use crate::report::paint::Paint;
use crate::report::signs;
use crate::stats::durations::Spread;
use crate::sweep::{Event, EventKind, Tally};

/// Lines shown for running iterations; beyond that the screen would be all lines.
const MOST_LINES: usize = 16;

/// Signs of past outcomes that fit into 80 columns.
const MOST_SIGNS: usize = 76;

pub(super) struct Bars {
    screen: MultiProgress,
    sweep: ProgressBar,
    strip: ProgressBar,
    /// The evidence so far, a bar for each line.
    standing: Vec<ProgressBar>,
    lines: BTreeMap<String, ProgressBar>,
    past: Past,
    /// Iterations recorded before this process began; they say nothing about its speed.
    before: Option<u32>,
}

impl Bars {
    pub(super) fn new() -> Bars {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let sweep = screen.add(ProgressBar::new(0));
        sweep.set_style(style("{bar:24.cyan/blue} {pos}/{len}  {msg}"));
        let strip = screen.add(ProgressBar::new_spinner());
        strip.set_style(style("{wide_msg}"));
        Bars {
            screen,
            sweep,
            strip,
            standing: Vec::new(),
            lines: BTreeMap::new(),
            past: Past::default(),
            before: None,
        }
    }
}

impl Bars {
    fn show_standing(&mut self, standing: &str) {
        let lines: Vec<&str> = standing.lines().collect();
        while self.standing.len() > lines.len()
            && let Some(line) = self.standing.pop()
        {
            line.finish_and_clear();
            self.screen.remove(&line);
        }
        while self.standing.len() < lines.len() {
            let above = self.standing.last().unwrap_or(&self.strip);
            let line = self.screen.insert_after(above, ProgressBar::new_spinner());
            line.set_style(style("{wide_msg}"));
            self.standing.push(line);
        }
        for (line, text) in self.standing.iter().zip(lines) {
            line.set_message(text.to_owned());
        }
    }
}

/// A bar for work that is counted, shown on a terminal only.
pub struct Counting(ProgressBar);

impl Counting {
    /// A bar for `total` steps, each of which is `done` afterwards.
    pub fn new(total: u64, done: &'static str) -> Counting {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
        bar.set_style(style("{bar:24.cyan/blue} {pos}/{len} {msg}  {eta} left"));
        bar.set_message(done);
        Counting(bar)
    }

    pub fn step(&self) {
        self.0.inc(1);
    }

    /// Does something that may print, without the bar in its way.
    pub fn beside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }

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
        self.past.add(event);
        self.sweep
            .set_length(u64::from(tally.recorded() + tally.running + tally.pending));
        self.sweep.set_position(u64::from(tally.recorded()));
        self.sweep.set_message(message(tally, event.elapsed_s, before));
        Ok(())
    }

    fn tick(&mut self, running: &[Running], standing: &str) -> io::Result<()> {
        self.strip.set_message(self.past.signs());
        self.show_standing(standing);
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
            let elapsed = whole(running.elapsed);
            let usual = self
                .past
                .usual()
                .map_or_else(String::new, |usual| format!(" of {}", whole(usual)));
            line.set_message(format!("{name} {elapsed:>7}{usual}  {}", printable(&running.last_line)));
            line.tick();
        }
        self.sweep.tick();
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        for line in std::mem::take(&mut self.lines).into_values() {
            line.finish_and_clear();
        }
        self.strip.finish_and_clear();
        self.standing.iter().for_each(ProgressBar::finish_and_clear);
        self.sweep.finish_and_clear();
        self.screen.clear()
    }
}

/// What is remembered of the iterations that ended while this was shown.
#[derive(Debug, Default)]
struct Past {
    outcomes: Vec<OutcomeKind>,
    durations_s: Vec<f64>,
}

impl Past {
    fn add(&mut self, event: &Event) {
        if let EventKind::IterationFinished {
            outcome, duration_s, ..
        } = &event.kind
        {
            self.outcomes.push(*outcome);
            self.durations_s.push(*duration_s);
        }
    }

    /// The last outcomes in the order in which they came, a sign each.
    fn signs(&self) -> String {
        let last = &self.outcomes[self.outcomes.len().saturating_sub(MOST_SIGNS)..];
        if last.is_empty() {
            return String::new();
        }
        let paint = if has_colors() { Paint::Color } else { Paint::Plain };
        let sign = |outcome: &OutcomeKind| paint.verdict(outcome.verdict(), &signs::sign(*outcome).to_string());
        last.iter().map(sign).collect()
    }

    /// Half of them took at most this long.
    fn usual(&self) -> Option<Duration> {
        let spread = Spread::of(self.durations_s.clone())?;
        Duration::try_from_secs_f64(spread.median)
            .ok()
            .filter(|usual| usual.as_secs() > 0)
    }
}

fn has_colors() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

/// A time to the second, as short as it can be.
fn whole(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs()))
        .to_string()
        .replace(' ', "")
}

/// How a running iteration is called on its line.
fn name(running: &Running) -> String {
    let arm = running.arm.as_ref().map_or_else(String::new, |arm| format!("{arm} "));
    format!("{arm}run{:03}", running.iteration)
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
