//! `history` as a table of nights, and a sentence for each class.

use std::fmt::Write as _;

use super::figures::{markdown, markdown_table, p_value, rate, table};
use crate::model::comparison::ANY;
use crate::model::history::{ClassHistory, History};

/// The history for a terminal.
#[must_use]
pub fn text(history: &History, confidence: f64) -> String {
    let (header, rows, figures) = nights(history, confidence);
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut text = table(&header, &rows, &figures);
    text.push('\n');
    for class in &history.classes {
        let _ = writeln!(text, "{}", sentence(class));
    }
    for note in &history.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

/// The history for a page that shows Markdown.
#[must_use]
pub fn as_markdown(history: &History, confidence: f64) -> String {
    let (header, rows, figures) = nights(history, confidence);
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut text = markdown_table(&header, &rows, &figures);
    text.push('\n');
    for class in &history.classes {
        let _ = writeln!(text, "- {}", markdown(&sentence(class)));
    }
    for note in &history.notes {
        let _ = writeln!(text, "- note: {}", markdown(note));
    }
    text
}

/// One row a night: the total with its interval, then how often each class was seen.
fn nights(history: &History, confidence: f64) -> (Vec<String>, Vec<Vec<String>>, Vec<usize>) {
    let classes: Vec<&str> = history
        .classes
        .iter()
        .map(|class| class.id.as_str())
        .filter(|id| *id != ANY)
        .collect();
    let mut header = ["night", "started", "failed", "rate"].map(str::to_owned).to_vec();
    header.extend(classes.iter().map(|id| (*id).to_owned()));
    header.push("errored".to_owned());
    let rows = history
        .nights
        .iter()
        .map(|night| {
            let any = &night.rates[ANY];
            let started = night
                .started_at
                .map_or_else(String::new, |time| time.format("%Y-%m-%d %H:%M").to_string());
            let mut row = vec![
                night.name.clone(),
                started,
                any.count.to_string(),
                rate(any, confidence),
            ];
            row.extend(classes.iter().map(|id| match night.rates[*id].count.failed() {
                0 => String::new(),
                failed => failed.to_string(),
            }));
            row.push(if night.errored > 0 {
                night.errored.to_string()
            } else {
                String::new()
            });
            row
        })
        .collect();
    let figures = std::iter::once(2).chain(4..header.len()).collect();
    (header, rows, figures)
}

fn sentence(class: &ClassHistory) -> String {
    let Some(first) = &class.first_night else {
        return format!("{}: never seen", class.id);
    };
    let nights = if class.nights == 1 {
        "1 night".to_owned()
    } else {
        format!("{} nights", class.nights)
    };
    let last = class.last_night.as_ref().filter(|last| *last != first);
    let last = last.map_or_else(String::new, |last| format!(", last on `{last}`"));
    let mut text = format!("{}: on {nights}, first on `{first}`{last}", class.id);
    if class.regimes.len() > 1 {
        let parts: Vec<String> = class
            .regimes
            .iter()
            .map(|part| format!("{} from `{}` to `{}`", part.count, part.first, part.last))
            .collect();
        let _ = write!(
            text,
            "; not one constant, independent rate: {} (p = {})",
            parts.join(", then "),
            p_value(class.regime_p)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::history::Night;

    #[test]
    fn a_row_of_nights_reads_as_a_table_and_sentences() {
        let night = |name: &str, is_bad: bool| Night {
            name: name.to_owned(),
            results: (0..20)
                .map(|index| (is_bad && index % 2 == 0).then(|| vec!["A2".to_owned()]))
                .collect(),
            ..Night::default()
        };
        let nights = vec![
            night("mon", false),
            night("tue", false),
            night("wed", true),
            night("thu", true),
        ];
        assert_eq!(
            text(&History::of(nights, 0.95), 0.95),
            "\
night  started  failed  rate                 A2  errored
mon               0/20  below 14 %
tue               0/20  below 14 %
wed              10/20  50 % (30 % to 70 %)  10
thu              10/20  50 % (30 % to 70 %)  10

any: on 2 nights, first on `wed`, last on `thu`; not one constant, independent rate: 0/40 from `mon` to `tue`, \
then 20/40 from `wed` to `thu` (p = 8e-8)
A2: on 2 nights, first on `wed`, last on `thu`; not one constant, independent rate: 0/40 from `mon` to `tue`, \
then 20/40 from `wed` to `thu` (p = 8e-8)
"
        );
    }
}
