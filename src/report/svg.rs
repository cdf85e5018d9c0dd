//! Charts as SVG: the strip of outcomes, rates, tests over time, durations, slots.
//!
//! Colors are classes, so that a page can change them for dark screens; a chart that stands alone brings its own style.
//! Every chart carries its content in words, and no chart tells anything by color alone.

mod durations;
mod heat;
mod posterior;
mod rates;
mod strip;
mod timeline;

use std::fmt::Write as _;

pub use durations::durations;
pub(crate) use heat::MOST_TESTS;
pub use heat::heat;
pub use posterior::posterior;
pub use rates::{RateRow, rates, rows as rate_rows};
pub use strip::strip;
pub use timeline::timeline;

use super::shown::short;
use super::signs::sign;
use crate::judge::OutcomeKind;
use crate::report::summary::Summary;

/// The colors of charts, light and dark.
pub const STYLE: &str = include_str!("svg/chart.css");

#[derive(Clone, Debug, PartialEq)]
pub struct Drawing {
    /// Width in pixels at its natural size.
    pub width: f64,
    /// Height in pixels.
    pub height: f64,
    /// The content in words, for readers who do not see the chart.
    pub label: String,
    body: String,
}

impl Drawing {
    fn new(width: f64, label: String) -> Drawing {
        Drawing {
            width,
            height: 0.0,
            label,
            body: String::new(),
        }
    }

    /// The chart as an element of a page, which has to bring [`STYLE`].
    pub fn inline(&self) -> String {
        let (width, height) = (figure(self.width), figure(self.height));
        format!(
            "<svg class=\"chart\" role=\"img\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             aria-label=\"{}\">{}</svg>",
            escaped(&self.label),
            self.body
        )
    }

    fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        let _ = write!(
            self.body,
            "<text x=\"{}\" y=\"{}\"{}>{}</text>",
            figure(x),
            figure(y),
            attribute(class),
            escaped(text)
        );
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let _ = write!(
            self.body,
            "<path d=\"M{} {}L{} {}\"{}/>",
            figure(from.0),
            figure(from.1),
            figure(to.0),
            figure(to.1),
            attribute(class)
        );
    }

    /// Many rectangles as one path, which takes a tenth of the bytes of one element for each.
    fn boxes(&mut self, class: &str, boxes: &[Box]) {
        if boxes.is_empty() {
            return;
        }
        let mut path = String::new();
        for Box { x, y, width, height } in boxes {
            let (x, y, width, height) = (figure(*x), figure(*y), figure(*width), figure(*height));
            let _ = write!(path, "M{x} {y}h{width}v{height}h-{width}z");
        }
        let _ = write!(self.body, "<path d=\"{path}\"{}/>", attribute(class));
    }

    /// A rectangle with a tooltip; `target` is where a click leads.
    fn cell(&mut self, class: &str, at: Box, target: &str, title: &str) {
        let _ = write!(
            self.body,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"{}{}><title>{}</title></rect>",
            figure(at.x),
            figure(at.y),
            figure(at.width),
            figure(at.height),
            attribute(class),
            if target.is_empty() {
                String::new()
            } else {
                format!(" data-run=\"{}\"", escaped(target))
            },
            escaped(title)
        );
    }
}

#[derive(Clone, Copy, Debug)]
struct Box {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

fn attribute(class: &str) -> String {
    if class.is_empty() {
        String::new()
    } else {
        format!(" class=\"{class}\"")
    }
}

/// A number with at most two decimals, without trailing zeros.
fn figure(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text for an element or an attribute in double quotes.
fn escaped(text: &str) -> String {
    maud::html! { (super::shown::shown(text)) }.into_string()
}

/// Class and sign of an outcome.
fn mark(kind: OutcomeKind) -> (&'static str, char) {
    let class = match kind {
        OutcomeKind::Hung => "o-hung",
        OutcomeKind::Crashed => "o-crashed",
        OutcomeKind::TimedOut => "o-timed_out",
        OutcomeKind::Failed => "o-failed",
        OutcomeKind::Infra
        | OutcomeKind::OutOfTime
        | OutcomeKind::NoTests
        | OutcomeKind::UsageError
        | OutcomeKind::NoResult => "o-errored",
        OutcomeKind::Passed => "o-passed",
    };
    (class, sign(kind))
}

/// A round step that divides a range into four to ten parts.
fn step(range: f64) -> f64 {
    let power = 10_f64.powf((range / 5.0).log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|factor| range / (factor * power) <= 6.0);
    factor.unwrap_or(10.0) * power
}

/// The strips and rates of some sweeps as one picture that needs no page, such as for a README.
pub fn picture(summaries: &[Summary]) -> String {
    const MARGIN: f64 = 12.0;
    let mut parts: Vec<(f64, String)> = Vec::new();
    let (mut y, mut width) = (MARGIN, 0_f64);
    let mut place = |drawing: &Drawing, y: &mut f64| {
        width = width.max(drawing.width);
        parts.push((*y, drawing.body.clone()));
        *y += drawing.height + MARGIN;
    };
    for summary in summaries {
        let mut head = Drawing::new(0.0, String::new());
        head.text(0.0, 12.0, "title", &short(&summary.sweep, 90));
        head.text(0.0, 29.0, "", &summary.rate.sentence());
        head.height = 30.0;
        place(&head, &mut y);
        place(&strip(summary, ""), &mut y);
    }
    place(&rates(&rate_rows(summaries)), &mut y);
    let label: Vec<String> = summaries
        .iter()
        .map(|summary| format!("{}: {}", summary.sweep, summary.rate.sentence()))
        .collect();
    let (width, height) = (figure(width + 2.0 * MARGIN), figure(y));
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" role=\"img\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" aria-label=\"{}\"><style>{STYLE}</style>\
         <rect class=\"ground\" width=\"100%\" height=\"100%\" rx=\"6\"/>",
        escaped(&label.join("; "))
    );
    for (y, body) in parts {
        let _ = write!(
            text,
            "<g transform=\"translate({} {})\">{body}</g>",
            figure(MARGIN),
            figure(y)
        );
    }
    text + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_short_as_they_can_be() {
        assert_eq!([0.0, 1.5, 2.004, 10.0, 0.1].map(figure), ["0", "1.5", "2", "10", "0.1"]);
    }

    #[test]
    fn steps_are_round_and_few() {
        for (range, expected) in [(1.0, 0.2), (0.14, 0.05), (660.0, 200.0), (3.0, 0.5)] {
            assert!((step(range) - expected).abs() < 1e-9, "{range}: {}", step(range));
        }
    }

    #[test]
    fn text_cannot_leave_its_element() {
        let mut drawing = Drawing::new(10.0, "\"><script>".to_owned());
        drawing.text(0.0, 0.0, "", "</text><script>alert(1)</script>\u{1b}[31m");
        let svg = drawing.inline();
        assert!(!svg.contains("<script") && !svg.contains('\u{1b}'), "{svg}");
    }
}
