//! The picture: a few lines for each sweep, then its runs. Values in, lines out; every fact is in words or signs, and
//! readable without color.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::state::{Item, MOST_LATEST, State, items_of};
use crate::judge::{OutcomeKind, Verdict};
use crate::report::time::span;
use crate::report::wrap::cut;
use crate::report::{signs, test_names};
use crate::sweep::status::{Latest, Running, SweepStatus};

/// Cells of a bar.
const BAR: usize = 24;
/// A run that takes so many times the usual is marked.
const SLOW: f64 = 3.0;

/// No run shorter than this, in seconds, is called slow.
const LEAST_SLOW: f64 = 5.0;

/// What the terminal can show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) is_colored: bool,
    pub(super) is_unicode: bool,
    pub(super) has_keys: bool,
}

impl Look {
    fn color(self, color: Color) -> Style {
        if self.is_colored {
            Style::new().fg(color)
        } else {
            Style::new()
        }
    }

    fn of(self, outcome: OutcomeKind) -> Style {
        match outcome {
            OutcomeKind::Passed => self.color(Color::Green),
            OutcomeKind::Failed | OutcomeKind::TimedOut => self.color(Color::Red),
            OutcomeKind::Crashed => self.color(Color::Magenta),
            OutcomeKind::Hung => self.color(Color::LightRed),
            OutcomeKind::Infra
            | OutcomeKind::OutOfTime
            | OutcomeKind::NoTests
            | OutcomeKind::UsageError
            | OutcomeKind::NoResult => self.color(Color::Yellow),
        }
    }
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

/// Draws everything into a frame.
pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State, look: Look) {
    let area = frame.area();
    if area.height < 2 {
        return;
    }
    let width = usize::from(area.width);
    let since = state.seen.map(|seen| seen.elapsed()).unwrap_or_default();
    let rows = rows(state, width, look, since);
    let room = usize::from(area.height - 1);
    let selected = rows
        .iter()
        .position(|row| row.item.is_some() && row.item.as_ref() == state.selected());
    state.top = top(state.top, selected, rows.len(), room);
    let shown: Vec<Line<'static>> = rows
        .into_iter()
        .skip(state.top)
        .take(room)
        .map(|row| row.line)
        .collect();
    frame.render_widget(
        Paragraph::new(shown),
        Rect {
            height: area.height - 1,
            ..area
        },
    );
    let foot = Rect {
        y: area.y + area.height - 1,
        height: 1,
        ..area
    };
    frame.render_widget(Paragraph::new(footer(state, width, look)), foot);
}

/// The first line to show, so that what is selected is among them.
fn top(top: usize, selected: Option<usize>, n_rows: usize, room: usize) -> usize {
    // The lines above the first run are its sweep's.
    let above = 5.min(room.saturating_sub(1));
    let top = match selected {
        Some(row) if row < top + above => row.saturating_sub(above),
        Some(row) if row >= top + room => row + 1 - room,
        Some(_) | None => top,
    };
    top.min(n_rows.saturating_sub(room))
}

/// A line of the picture, and the run that it is.
struct ViewLine {
    line: Line<'static>,
    item: Option<Item>,
}

fn rows(state: &State, width: usize, look: Look, since: Duration) -> Vec<ViewLine> {
    let mut rows = Vec::new();
    for sweep in &state.sweeps {
        let mut items = items_of(sweep).into_iter();
        let mut plain = |spans: Vec<Span<'static>>| {
            rows.push(ViewLine {
                line: fit(spans, width),
                item: None,
            });
        };
        head(sweep, width, look, &mut plain);
        for running in &sweep.in_flight {
            let line = in_flight(running, sweep.usual_s, width, look, since);
            rows.push(row(line, items.next(), state, width, look));
        }
        let latest = sweep.latest.iter().rev().filter(|one| one.verdict != Verdict::Passed);
        for (index, one) in latest.take(MOST_LATEST).enumerate() {
            if index == 0 {
                let words = if sweep.running {
                    "  failed or errored, the last one first"
                } else {
                    "  the last that failed or errored"
                };
                rows.push(ViewLine {
                    line: fit(vec![Span::styled(words, dim())], width),
                    item: None,
                });
            }
            rows.push(row(finished(one, look), items.next(), state, width, look));
        }
        rows.push(ViewLine {
            line: Line::default(),
            item: None,
        });
    }
    if rows.is_empty() {
        let words = if state.seen.is_some() {
            "no sweep yet: it is shown as soon as one begins"
        } else {
            "looking"
        };
        rows.push(ViewLine {
            line: Line::from(words),
            item: None,
        });
    }
    rows
}

/// A run's line with the sign of what is selected, which also stands for those who see no colors.
fn row(spans: Vec<Span<'static>>, item: Option<Item>, state: &State, width: usize, look: Look) -> ViewLine {
    let is_selected = item.is_some() && item.as_ref() == state.selected();
    let sign = match (is_selected, look.is_unicode) {
        (true, true) => "▶ ",
        (true, false) => "> ",
        (false, _) => "  ",
    };
    let mut line = vec![Span::raw(sign)];
    // Colors and shades would not be seen on the reversed line.
    line.extend(
        spans
            .into_iter()
            .map(|span| if is_selected { Span::raw(span.content) } else { span }),
    );
    let line = fit(line, width);
    let line = if is_selected {
        line.style(Style::new().add_modifier(Modifier::REVERSED))
    } else {
        line
    };
    ViewLine { line, item }
}

fn head(sweep: &SweepStatus, width: usize, look: Look, add: &mut impl FnMut(Vec<Span<'static>>)) {
    let state = if sweep.running {
        Span::styled("running", look.color(Color::Green).add_modifier(Modifier::BOLD))
    } else {
        Span::styled(sweep.state(), dim())
    };
    let name = cut(&sweep.sweep, width.saturating_sub(BAR + 26).max(20));
    let (full, empty) = if look.is_unicode { ("━", "─") } else { ("#", "-") };
    let share = sweep.recorded as f64 / sweep.planned.max(1) as f64;
    let n_full = (0..BAR)
        .filter(|cell| ((*cell + 1) as f64) <= share * BAR as f64 + 1e-9)
        .count();
    let mut first = vec![
        Span::styled(name, bold()),
        Span::raw("  "),
        Span::styled(full.repeat(n_full), look.color(Color::Cyan)),
        Span::styled(empty.repeat(BAR - n_full), dim()),
        Span::raw(format!(" {}/{}  ", sweep.recorded, sweep.planned)),
        state,
    ];
    if let Some(left) = sweep.left_s {
        first.push(Span::raw(format!(", about {} left", span(left))));
    }
    add(first);
    let styled = |n: u64, word: &str, kind: OutcomeKind| {
        let style = if n > 0 { look.of(kind) } else { dim() };
        Span::styled(format!("{n} {word}"), style)
    };
    let mut counts = vec![
        Span::raw("  "),
        styled(sweep.passed, "passed", OutcomeKind::Passed),
        Span::raw("  "),
        styled(sweep.failed, "failed", OutcomeKind::Failed),
        Span::raw("  "),
        styled(sweep.errored, "errored", OutcomeKind::Infra),
    ];
    for (index, (id, n)) in sweep.by_category.iter().enumerate() {
        counts.push(Span::raw(if index == 0 { "   " } else { "  " }));
        counts.push(Span::styled(id.clone(), bold()));
        counts.push(Span::raw(format!(" in {n}")));
    }
    add(counts);
    if sweep.rate.count.of() > 0 {
        add(vec![Span::raw(format!("  {}", sweep.rate.sentence()))]);
    }
    if !sweep.latest.is_empty() {
        add(strip(&sweep.latest, width, look));
    }
}

/// The signs of the last iterations, as many as there is room for, and the numbers they go from and to.
fn strip(latest: &[Latest], width: usize, look: Look) -> Vec<Span<'static>> {
    let room = width.saturating_sub(18).max(10);
    let shown = &latest[latest.len().saturating_sub(room)..];
    let mut spans = vec![Span::raw("  ")];
    for same in shown.chunk_by(|a, b| a.outcome == b.outcome) {
        let signs = signs::sign(same[0].outcome).to_string().repeat(same.len());
        spans.push(Span::styled(signs, look.of(same[0].outcome)));
    }
    if let (Some(first), Some(last)) = (shown.first(), shown.last()) {
        spans.push(Span::styled(format!("  {}-{}", first.iteration, last.iteration), dim()));
    }
    spans
}

/// A running iteration: how long, against the usual, and what it printed last.
fn in_flight(running: &Running, usual: Option<f64>, width: usize, look: Look, since: Duration) -> Vec<Span<'static>> {
    let elapsed = running.elapsed_s.map(|elapsed| elapsed + since.as_secs_f64());
    let share = elapsed.zip(usual).map(|(elapsed, usual)| elapsed / usual.max(0.1));
    let (time, is_slow) = match (elapsed, share) {
        (Some(elapsed), Some(share)) if share >= SLOW && elapsed >= LEAST_SLOW => {
            (format!("{} ({share:.0}x)", span(elapsed)), true)
        }
        (Some(elapsed), _) => (span(elapsed), false),
        (None, _) => (String::new(), false),
    };
    let usual = usual
        .filter(|usual| !is_slow && *usual >= 1.0)
        .map_or_else(String::new, |usual| format!(" of {}", span(usual)));
    let time = format!("{time}{usual}");
    let style = if is_slow {
        look.color(Color::Yellow).add_modifier(Modifier::BOLD)
    } else {
        Style::new()
    };
    let lead = format!("run{:03}  {time:<22}", running.iteration);
    let room = width.saturating_sub(lead.chars().count() + 5);
    let line = cut(running.last_line.as_deref().unwrap_or_default(), room);
    vec![Span::styled(lead, style), Span::raw(" "), Span::styled(line, dim())]
}

/// A recorded iteration that did not pass.
fn finished(one: &Latest, look: Look) -> Vec<Span<'static>> {
    let what = format!(
        "{} {}",
        one.outcome.as_str().replace('_', " "),
        one.categories.join(" ")
    );
    let test = one.failing_tests.first().map_or("", |test| test_names::split(test).1);
    let more = match one.failing_tests.len() {
        0 | 1 => String::new(),
        n => format!(" and {} more", n - 1),
    };
    vec![
        Span::raw(format!("run{:03}  ", one.iteration)),
        Span::styled(format!("{:<22}", what.trim_end()), look.of(one.outcome)),
        Span::raw(format!(" {}{more}", cut(test, 200))),
    ]
}

fn footer(state: &State, width: usize, look: Look) -> Line<'static> {
    if let Some(said) = &state.said {
        return fit(
            vec![Span::styled(
                said.clone(),
                look.color(Color::Yellow).add_modifier(Modifier::BOLD),
            )],
            width,
        );
    }
    if !look.has_keys {
        return fit(vec![Span::raw(" Ctrl-C  leave, nothing is stopped")], width);
    }
    let arrows = if look.is_unicode { "↑ ↓" } else { "j k" };
    let keys = [
        (arrows, "select"),
        ("Enter", "log"),
        ("e", "evidence"),
        ("q", "leave, nothing is stopped"),
    ];
    let mut spans = Vec::new();
    for (key, what) in keys {
        spans.push(Span::styled(
            format!(" {key} "),
            Style::new().add_modifier(Modifier::REVERSED),
        ));
        spans.push(Span::raw(format!(" {what}  ")));
    }
    fit(spans, width)
}

/// A line no wider than the screen; control characters, which a log may hold, are gone.
fn fit(spans: Vec<Span<'static>>, width: usize) -> Line<'static> {
    let mut room = width;
    let mut kept = Vec::new();
    for span in spans {
        let n = span.content.chars().count();
        if n <= room {
            room -= n;
            kept.push(Span::styled(cut(&span.content, n), span.style));
        } else {
            kept.push(Span::styled(cut(&span.content, room), span.style));
            break;
        }
    }
    Line::from(kept)
}

#[cfg(test)]
mod tests;
