//! Sweeps as a trace for ui.perfetto.dev, in the format of JSON trace events: what ran beside what, and what died when.
//!
//! Format: "Trace Event Format" (Chromium). A sweep is a process, a slot of its `--jobs` a thread, an iteration a slice;
//! times are microseconds since the first start. Iterations without a start or a duration have no place on the axis; how
//! many those are stands in `otherData`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::shown::shown;
use crate::judge::starvation::Window;
use crate::judge::{EndedBy, Record, Verdict};
use crate::report::summary::Run;

/// A sweep with its records.
#[derive(Clone, Copy, Debug)]
pub struct Sheet<'a> {
    pub name: &'a str,
    pub records: &'a [Record],
    /// Stretches in which `--starve` stopped something, by iteration.
    pub windows: &'a BTreeMap<u32, Vec<Window>>,
}

#[derive(Serialize)]
struct Event {
    name: String,
    /// Kind: `X` a slice, `i` an instant, `C` a counter, `M` a name.
    ph: char,
    pid: usize,
    tid: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cat: Option<&'static str>,
    /// Color, of the names that viewers know.
    #[serde(skip_serializing_if = "Option::is_none")]
    cname: Option<&'static str>,
    /// How far an instant's line reaches: `t`, over its thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<char>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    args: Map<String, Value>,
}

impl Event {
    fn new(name: impl Into<String>, ph: char, (pid, tid): (usize, usize)) -> Event {
        Event {
            name: name.into(),
            ph,
            pid,
            tid,
            ts: None,
            dur: None,
            cat: None,
            cname: None,
            s: None,
            args: Map::new(),
        }
    }
}

/// A record with its place on the axis.
struct Span<'a> {
    record: &'a Record,
    /// Microseconds since the first start.
    from: i64,
    to: i64,
}

/// The bytes of the trace.
pub fn json(sheets: &[Sheet<'_>]) -> Vec<u8> {
    let starts = sheets.iter().flat_map(|sheet| sheet.records).filter_map(times);
    let zero = starts.map(|(start, _)| start).min().unwrap_or_default();
    let mut events = Vec::new();
    let mut n_placeless = 0;
    for (index, sheet) in sheets.iter().enumerate() {
        let placed = placed(sheet.records, zero);
        n_placeless += sheet.records.len() - placed.len();
        add_sweep(&mut events, index + 1, sheet.name, &placed);
        add_windows(&mut events, index + 1, sheet.windows, &placed, zero);
    }
    let document = json!({
        "displayTimeUnit": "ms",
        "traceEvents": events,
        "otherData": {
            "tool": crate::spec::tool(),
            "start": zero,
            "iterations_without_times": n_placeless,
        },
    });
    let mut bytes = serde_json::to_vec(&document).expect("a trace has string keys");
    bytes.push(b'\n');
    bytes
}

fn times(record: &Record) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let exit = record.exit.as_ref()?;
    Some((exit.started_at?, exit.ended_at()?))
}

/// The records that have times, by their start.
fn placed(records: &[Record], zero: DateTime<Utc>) -> Vec<Span<'_>> {
    let micros = |time: DateTime<Utc>| (time - zero).num_microseconds();
    let mut placed: Vec<Span<'_>> = records
        .iter()
        .filter_map(|record| {
            let (start, end) = times(record)?;
            let (from, to) = (micros(start)?, micros(end)?);
            Some(Span { record, from, to })
        })
        .collect();
    placed.sort_by_key(|placed| (placed.from, placed.record.iteration));
    placed
}

fn add_sweep(events: &mut Vec<Event>, pid: usize, name: &str, placed: &[Span<'_>]) {
    let mut process = Event::new("process_name", 'M', (pid, 0));
    process.args.insert("name".to_owned(), shown(name).into());
    events.push(process);
    // The end of what each slot ran last: an iteration gets the first slot that is free at its start.
    let mut slots: Vec<i64> = Vec::new();
    for one in placed {
        let slot = slots.iter().position(|end| *end <= one.from).unwrap_or(slots.len());
        if slot == slots.len() {
            slots.push(0);
            let mut thread = Event::new("thread_name", 'M', (pid, slot + 1));
            thread
                .args
                .insert("name".to_owned(), format!("slot {}", slot + 1).into());
            events.push(thread);
        }
        slots[slot] = one.to;
        add_iteration(events, (pid, slot + 1), one);
    }
    add_in_flight(events, pid, placed);
}

fn add_iteration(events: &mut Vec<Event>, place: (usize, usize), one: &Span<'_>) {
    let record = one.record;
    let outcome = &record.outcome;
    let mut words = format!("run{:03} {}", record.iteration, outcome.outcome.as_str());
    if !outcome.categories.is_empty() {
        words = format!("{words} {}", shown(&outcome.categories.join("+")));
    }
    let mut slice = Event::new(words, 'X', place);
    slice.ts = Some(one.from);
    slice.dur = Some(one.to - one.from);
    slice.cat = Some("iteration");
    slice.cname = Some(match outcome.verdict {
        Verdict::Passed => "good",
        Verdict::Failed => "terrible",
        Verdict::Errored => "grey",
    });
    let exit = record.exit.as_ref();
    let mut args = json!({
        "iteration": record.iteration,
        "verdict": outcome.verdict,
        "directory": shown(&record.dir.display().to_string()),
        "failing_tests": outcome.failing_tests.iter().map(|test| shown(test)).collect::<Vec<_>>(),
        "exit_code": exit.and_then(|exit| exit.code),
        "ended_by": exit.map(|exit| exit.ended_by),
        "longest_silence_s": exit.and_then(|exit| exit.quiet_s),
        "node": exit.and_then(|exit| exit.node.clone()),
        "load": exit.and_then(|exit| exit.load),
        "reason": Run::of(record).reason().map(|words| shown(words).into_owned()),
    });
    if let Some(args) = args.as_object_mut() {
        args.retain(|_, value| !value.is_null() && *value != json!([]));
        slice.args = std::mem::take(args);
    }
    events.push(slice);
    // Of a session that was ended because it had been quiet, the silence is known to be its end.
    let silent = exit
        .filter(|exit| exit.ended_by == EndedBy::Silence)
        .and_then(|exit| exit.quiet_s);
    if let Some(quiet_s) = silent.filter(|quiet_s| quiet_s.is_finite()) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a float is cut to the range of the integer"
        )]
        let micros = (quiet_s * 1e6) as i64;
        let mut silence = Event::new("silence", 'X', place);
        silence.dur = Some(micros.clamp(0, one.to - one.from));
        silence.ts = Some(one.to - silence.dur.unwrap_or(0));
        silence.cat = Some("silence");
        silence.cname = Some("bad");
        events.push(silence);
    }
    for crash in &outcome.crashes {
        let who = crash.worker.as_deref().unwrap_or("the session");
        let test = crash
            .test
            .as_deref()
            .map_or_else(String::new, |test| format!(" in {}", shown(test)));
        // When a worker died is not told; the session's end is the first moment that is known to be later.
        let mut death = Event::new(format!("{} died{test}", shown(who)), 'i', place);
        death.ts = Some(one.to);
        death.cat = Some("death");
        death.s = Some('t');
        if let Some(frame) = &crash.frame {
            death.args.insert("frame".to_owned(), shown(frame).into());
        }
        events.push(death);
    }
}

/// Most windows of one iteration that are drawn: a trace of more is no longer opened by a browser.
const MOST_WINDOWS: usize = 2_000;

/// What was stopped, and when: a thread for each iteration in which anything was, below the slots.
fn add_windows(
    events: &mut Vec<Event>,
    pid: usize,
    windows: &BTreeMap<u32, Vec<Window>>,
    placed: &[Span<'_>],
    zero: DateTime<Utc>,
) {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float is cut to the range of the integer"
    )]
    let micros = |seconds: f64| (seconds * 1e6) as i64;
    for one in placed {
        let iteration = one.record.iteration;
        let Some(windows) = windows.get(&iteration).filter(|windows| !windows.is_empty()) else {
            continue;
        };
        let place = (pid, 1_000_000 + iteration as usize);
        let mut thread = Event::new("thread_name", 'M', place);
        thread
            .args
            .insert("name".to_owned(), format!("run{iteration:03}, stopped").into());
        events.push(thread);
        for window in windows.iter().take(MOST_WINDOWS) {
            let mut slice = Event::new(shown(&window.what()), 'X', place);
            slice.ts = Some(micros(window.at) - zero.timestamp_micros());
            slice.dur = Some(micros(window.duration_s).max(0));
            slice.cat = Some("stopped");
            slice.args.insert("threads".to_owned(), window.threads.into());
            events.push(slice);
        }
    }
}

/// A counter of the iterations that run at a time.
fn add_in_flight(events: &mut Vec<Event>, pid: usize, placed: &[Span<'_>]) {
    let mut changes: BTreeMap<i64, i64> = BTreeMap::new();
    for one in placed {
        *changes.entry(one.from).or_default() += 1;
        *changes.entry(one.to).or_default() -= 1;
    }
    let mut running = 0;
    for (ts, change) in changes {
        running += change;
        let mut counter = Event::new("in flight", 'C', (pid, 0));
        counter.ts = Some(ts);
        counter.args.insert("iterations".to_owned(), running.into());
        events.push(counter);
    }
}
