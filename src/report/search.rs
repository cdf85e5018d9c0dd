//! A search for a culprit as it is shown: where along the axis the change is, as far as the runs say.

use std::fmt::Write as _;

use super::paint::Paint;
use super::shown::short;
use crate::stats::{Count, percent};

/// Rows on a live display.
pub const IN_A_DISPLAY: usize = 12;
/// Cells of a bar.
const CELLS: f64 = 24.0;
/// Characters of a name.
const NAME: usize = 32;
/// Characters of a title.
const TITLE: usize = 60;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    pub name: String,
    /// What it is, such as the subject of a commit.
    pub title: Option<String>,
    /// Failures of the class in its answered runs.
    pub count: Count,
    pub errored: u64,
    /// Runs that failed for another reason.
    pub others: u64,
    /// Probability that the change came with it; 0 for the first, before which nothing was run.
    pub posterior: f64,
    /// Why it takes no part.
    pub left_out: Option<String>,
}

/// All candidates in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// The class that is searched.
    pub class: String,
    pub rows: Vec<Row>,
    /// Probability that nothing changed along the axis.
    pub none: f64,
}

impl Picture {
    /// Failures of the class in all answered runs.
    pub fn total(&self) -> Count {
        self.among(0..self.rows.len())
    }

    /// Failures of the class in the answered runs of some candidates.
    pub fn among(&self, rows: std::ops::Range<usize>) -> Count {
        let rows = self.rows.get(rows).unwrap_or_default();
        let failed = rows.iter().map(|row| row.count.failed()).sum();
        let of = rows.iter().map(|row| row.count.of()).sum();
        Count::new(failed, of).unwrap_or_default()
    }

    /// Which rows are drawn where not all of them are: both ends, the likeliest, and those with most runs.
    fn drawn(&self, most: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        if order.len() <= most {
            return order;
        }
        let last = self.rows.len() - 1;
        let rank = |at: usize| {
            let row = &self.rows[at];
            let is_end = at == 0 || at == last;
            (is_end, (row.posterior * 1000.0).round(), row.count.of() as f64)
        };
        order.sort_by(|a, b| {
            let (a, b) = (rank(*a), rank(*b));
            b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)).then(b.2.total_cmp(&a.2))
        });
        order.truncate(most.max(2));
        order.sort_unstable();
        order
    }

    /// A line for each candidate, with as many of them as there is room for.
    pub fn text(&self, most: usize, paint: Paint) -> String {
        let drawn = self.drawn(most);
        let names: Vec<String> = drawn.iter().map(|at| short(&self.rows[*at].name, NAME)).collect();
        let none = "none of these";
        let wide = |text: &str| text.chars().count();
        let width = names.iter().map(|name| wide(name)).max().unwrap_or(0).max(wide(none));
        let counts: Vec<String> = drawn.iter().map(|at| self.rows[*at].count.to_string()).collect();
        let total = self.total().to_string();
        let figures = counts
            .iter()
            .map(|count| wide(count))
            .max()
            .unwrap_or(0)
            .max(wide(&total));
        let mut text = String::new();
        let mut next = 0;
        for ((&at, name), count) in drawn.iter().zip(&names).zip(&counts) {
            if at > next {
                let _ = writeln!(text, "  {}", paint.dim(&format!("… {} more", at - next)));
            }
            next = at + 1;
            let row = &self.rows[at];
            let mut line = format!("  {name:width$}  {count:>figures$}  ");
            match &row.left_out {
                Some(why) => line.extend(["left out: ", &short(why, 80)]),
                None if at > 0 => line += &bar(row.posterior, paint),
                None => {}
            }
            line += &row.words();
            let _ = writeln!(text, "{}", line.trim_end());
        }
        let _ = writeln!(text, "  {none:width$}  {total:>figures$}  {}", bar(self.none, paint));
        text
    }
}

impl Row {
    /// What besides its count is to be told: what it is, and its runs that said nothing.
    fn words(&self) -> String {
        let mut words = Vec::new();
        if let Some(title) = &self.title {
            words.push(format!("\"{}\"", short(title, TITLE)));
        }
        if self.others > 0 {
            words.push(format!("{} failed otherwise", self.others));
        }
        if self.errored > 0 {
            words.push(format!("{} errored", self.errored));
        }
        if words.is_empty() {
            return String::new();
        }
        format!("  {}", words.join(", "))
    }
}

fn bar(p: f64, paint: Paint) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let (mut cells, mut text) = (p.clamp(0.0, 1.0) * CELLS, String::new());
    while cells >= 1.0 {
        text.push('█');
        cells -= 1.0;
    }
    let rest = (1..8).rev().find(|eighth| cells * 8.0 >= *eighth as f64).unwrap_or(0);
    text += EIGHTHS[rest];
    let figure = if p < 0.005 { "·".to_owned() } else { percent(p) };
    if text.is_empty() {
        figure
    } else {
        format!("{} {figure}", paint.red(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(n: usize) -> Picture {
        let rows = (0..n).map(|at| Row {
            name: format!("v{at}"),
            count: Count::new(u64::from(at >= 2), 4).unwrap(),
            posterior: if at == 2 { 0.75 } else { 0.0 },
            ..Row::default()
        });
        Picture {
            class: "A2".to_owned(),
            rows: rows.collect(),
            none: 0.25,
        }
    }

    #[test]
    fn every_candidate_has_a_line_with_its_count_and_a_bar() {
        let mut picture = picture(4);
        picture.rows[1].left_out = Some("does not build".to_owned());
        picture.rows[2].title = Some("pool: reuse the runtime".to_owned());
        picture.rows[3].errored = 2;
        assert_eq!(
            picture.text(10, Paint::Plain),
            "  v0              0/4\n  \
               v1              0/4  left out: does not build\n  \
               v2              1/4  ██████████████████ 75 %  \"pool: reuse the runtime\"\n  \
               v3              1/4  ·  2 errored\n  \
               none of these  2/16  ██████ 25 %\n"
        );
    }

    #[test]
    fn of_many_candidates_the_ends_and_the_likeliest_are_drawn() {
        let text = picture(40).text(3, Paint::Plain);
        let names: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(names, ["v0", "…", "v2", "…", "v39", "none"], "{text}");
        assert!(text.contains("… 36 more"), "{text}");
    }
}
