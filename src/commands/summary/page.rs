//! `summary --format html`: reads the lines of the logs around the evidence, within bounds, and has the page written.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};

use chrono::Utc;
use rayon::prelude::*;

use crate::commands::judged_sweep::JudgedSweep;
use crate::commands::operand::{self, Operand};
use crate::judge::excerpt::{self, Around, Excerpt};
use crate::judge::{Evidence, Record, SignatureSet, Verdict};
use crate::report::html::{self, Report, Sheet};
use crate::report::redact::{Found, Redacted, Redactor};
use crate::report::summary::Summary;
use crate::run::{self, Files};
use crate::spec::Spec;
use crate::stats::comparison::{Comparison, Question};
use crate::stats::sample::Sample;
use crate::sweep::arms;

/// Lines shown around a line of evidence: what led to it, and the stack that follows.
const AROUND: Around = Around { before: 6, after: 18 };
/// Most lines of evidence of one iteration.
const MOST_HITS: usize = 8;
/// Most files that the excerpts of one iteration come from, without the autopsy's.
const MOST_FILES: usize = 4;
/// Most of an autopsy's files, and of the lines and bytes of each.
const MOST_AUTOPSY: (usize, usize, usize) = (4, 400, 24_000);
/// Iterations whose logs are read at a time; once the page is full no further log is read.
const AT_A_TIME: usize = 64;

/// The page for some sweeps. With `is_compared`, the first sweep is compared with each other one. A redactor takes the
/// secrets out.
pub(super) fn page(
    sweeps: &[JudgedSweep],
    is_compared: bool,
    signatures: &SignatureSet,
    confidence: f64,
    redactor: Option<&Redactor>,
) -> String {
    let mut summaries: Vec<Summary> = sweeps
        .iter()
        .map(|sweep| sweep.summary(signatures, confidence))
        .collect();
    let mut found = Found::default();
    let excerpts = excerpts(sweeps, html::MOST_EVIDENCE, redactor, &mut found);
    let comparisons = if is_compared {
        comparisons(sweeps, confidence)
    } else {
        Vec::new()
    };
    let mut facts: Vec<(Option<Spec>, Cow<'_, [Record]>)> = sweeps
        .iter()
        .map(|sweep| (sweep.spec.clone(), Cow::Borrowed(&sweep.records[..])))
        .collect();
    if let Some(redactor) = redactor {
        for summary in &mut summaries {
            redactor.summary(summary, &mut found);
        }
        for (spec, records) in &mut facts {
            if let Some(spec) = spec {
                redactor.spec(spec, &mut found);
            }
            records
                .to_mut()
                .iter_mut()
                .for_each(|record| redactor.record(record, &mut found));
        }
    }
    let sheets: Vec<Sheet<'_>> = facts
        .iter()
        .zip(&summaries)
        .zip(&excerpts)
        .map(|(((spec, records), summary), excerpts)| Sheet {
            summary,
            spec: spec.as_ref(),
            records,
            excerpts,
        })
        .collect();
    html::page(&Report {
        sheets: &sheets,
        comparisons: &comparisons,
        redacted: redactor.map(|_| found.words()),
        tool: &crate::spec::tool(),
        made_at: Some(Utc::now()),
    })
}

/// The first sweep against each other one that shows anything and shares no iteration with it.
fn comparisons(sweeps: &[JudgedSweep], confidence: f64) -> Vec<Comparison> {
    let operand = |sweep: &JudgedSweep| Operand {
        sample: Sample::of(sweep.answers(), 0),
        sweep: Some(sweep.clone()),
    };
    let Some((base, others)) = sweeps.split_first() else {
        return Vec::new();
    };
    let base = operand(base);
    let question = Question {
        confidence,
        ..Question::default()
    };
    others
        .iter()
        .map(operand)
        .filter(|new| base.sample.any.of() > 0 && new.sample.any.of() > 0 && operand::ensure_apart(&base, new).is_ok())
        .map(|new| {
            let mut comparison = Comparison::new(&base.sample, &new.sample, question);
            comparison.e_value = operand::blocks_of(&base, &new).and_then(|(base, new)| arms::e_value(&base, &new));
            comparison
        })
        .collect()
}

/// The lines around the evidence by iteration, for each sweep, `room` bytes at most. The first failures of every cause
/// come first, so that a frequent cause does not crowd out a rare one.
fn excerpts(
    sweeps: &[JudgedSweep],
    mut room: usize,
    redactor: Option<&Redactor>,
    redacted: &mut Found,
) -> Vec<BTreeMap<u32, Vec<Excerpt>>> {
    let mut found: Vec<BTreeMap<u32, Vec<Excerpt>>> = vec![BTreeMap::new(); sweeps.len()];
    let mut order: Vec<(usize, usize, &Record)> = Vec::new();
    for (index, sweep) in sweeps.iter().enumerate() {
        let mut seen: BTreeMap<&[String], usize> = BTreeMap::new();
        for record in &sweep.records {
            if record.outcome.verdict != Verdict::Passed {
                let rank = seen.entry(&record.outcome.categories).or_default();
                order.push((*rank, index, record));
                *rank += 1;
            }
        }
    }
    order.sort_by_key(|(rank, index, record)| (*rank, *index, record.iteration));
    for part in order.chunks(AT_A_TIME) {
        let read: Vec<Vec<Excerpt>> = part.par_iter().map(|(_, _, record)| of_one(record, redactor)).collect();
        for ((_, index, record), excerpts) in part.iter().zip(read) {
            let needed = size(record, &excerpts);
            if needed > room {
                // A run that is too large leaves room for smaller runs, until hardly any room is left.
                if room < html::MOST_EVIDENCE / 50 {
                    return found;
                }
                continue;
            }
            room -= needed;
            for line in excerpts.iter().flat_map(|excerpt| &excerpt.lines) {
                redacted.add(&Found::shown(line));
            }
            found[*index].insert(record.iteration, excerpts);
        }
    }
    found
}

/// Bytes that a run takes on the page, with its markup and its escapes.
fn size(record: &Record, excerpts: &[Excerpt]) -> usize {
    let escaped = |text: &str| text.len() + 4 * text.bytes().filter(|byte| b"<>&\"".contains(byte)).count();
    let lines = excerpts.iter().flat_map(|excerpt| &excerpt.lines);
    let outcome = &record.outcome;
    let evidence = outcome
        .evidence
        .iter()
        .take(12)
        .map(|evidence| escaped(&evidence.text).min(1200) + 120);
    let tests = outcome
        .failing_tests
        .iter()
        .take(30)
        .map(|test| 2 * escaped(test).min(1200));
    let notes = outcome.notes.iter().take(10).map(|note| escaped(note).min(1600) + 60);
    let argv = record
        .exit
        .as_ref()
        .map_or(0, |exit| exit.argv.iter().map(|word| escaped(word) + 2).sum());
    1_200
        + excerpts.len() * 120
        + lines.map(|line| escaped(line) + 12).sum::<usize>()
        + evidence.chain(tests).chain(notes).sum::<usize>()
        + argv
}

/// The excerpts of one iteration; none of a log that cannot be read.
fn of_one(record: &Record, redactor: Option<&Redactor>) -> Vec<Excerpt> {
    let Ok(files) = run::run_files(&record.dir) else {
        return Vec::new();
    };
    let mut wanted: Vec<(&str, Vec<u64>)> = Vec::new();
    let evidence: Vec<&Evidence> = record
        .outcome
        .evidence
        .iter()
        .filter(|evidence| evidence.line.is_some())
        .collect();
    for evidence in evidence.into_iter().take(MOST_HITS) {
        match wanted.iter().position(|(file, _)| *file == evidence.file) {
            Some(at) => wanted[at].1.extend(evidence.line),
            None if wanted.len() < MOST_FILES => wanted.push((&evidence.file, evidence.line.into_iter().collect())),
            None => {}
        }
    }
    let mut found = Vec::new();
    for (file, lines) in wanted {
        let read = |reader| excerpt::around(reader, file, &lines, AROUND);
        found.extend(
            text(&files, file, redactor)
                .map(read)
                .and_then(Result::ok)
                .unwrap_or_default(),
        );
    }
    let (most_files, most_lines, most_bytes) = MOST_AUTOPSY;
    for name in files.autopsy().into_iter().take(most_files) {
        let read = |reader| -> io::Result<Excerpt> { excerpt::head(reader, &name, most_lines, most_bytes) };
        let text = text(&files, &name, redactor).map(read).and_then(Result::ok);
        found.extend(text.filter(|excerpt| !excerpt.is_empty()));
    }
    if let Some(redactor) = redactor {
        for excerpt in &mut found {
            redactor.clean(&mut excerpt.file, &mut Found::default());
        }
    }
    found
}

/// A file of a run without its secrets. They are taken out before lines are cut, or a part of a secret could stay.
fn text<'a>(files: &'a Files, name: &str, redactor: Option<&'a Redactor>) -> Option<Box<dyn BufRead + 'a>> {
    let reader = files.text(name)?;
    Some(match redactor {
        Some(redactor) => Box::new(BufReader::new(Redacted::new(reader, redactor))),
        None => reader,
    })
}
