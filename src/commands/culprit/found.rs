//! What a search found, as a picture and as JSON.

use schemars::JsonSchema;
use serde::Serialize;

use super::course::Course;
use crate::report::search::{Picture, Row};
use crate::stats::Count;
use crate::stats::culprit::End;

/// Where along the axis the change is, as far as the runs say.
pub(super) fn picture(course: &Course, titles: &[Option<String>]) -> Picture {
    let left_out = course.left_out();
    let (kept, posterior) = course.posterior().unzip();
    let of_change = |candidate: usize| {
        let at = kept.as_ref()?.iter().position(|known| *known == candidate)?;
        posterior.as_ref()?.change.get(at.checked_sub(1)?).copied()
    };
    let rows = course.names.iter().enumerate().map(|(candidate, name)| {
        let (errored, others) = course.silent(candidate);
        Row {
            name: name.clone(),
            title: titles.get(candidate).cloned().flatten(),
            count: course.count(candidate),
            errored,
            others,
            posterior: of_change(candidate).unwrap_or(0.0),
            left_out: left_out.get(&candidate).cloned(),
        }
    });
    Picture {
        rows: rows.collect(),
        none: posterior.as_ref().map_or(0.0, |posterior| posterior.none),
        ..Picture::default()
    }
}

/// What a search came to. Its JSON is one line.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::commands) struct Found<'a> {
    pub(super) format: u32,
    pub(super) class: String,
    pub(super) state: &'static str,
    /// The answer that the state is short for.
    pub(super) answer: &'static str,
    /// The candidate that the failure came with; only where it is found.
    pub(super) culprit: Option<&'a str>,
    /// The likeliest candidate, whatever the answer.
    pub(super) likeliest: Option<&'a str>,
    /// Probability of the answer, or of the likeliest candidate where there is none.
    pub(super) confidence: f64,
    /// Probability that nothing changed along the axis.
    pub(super) none: f64,
    /// Runs of the search, those that said nothing included.
    pub(super) runs: u64,
    pub(super) confirmation: Option<Confirmation>,
    pub(super) candidates: Vec<One<'a>>,
    /// Directory of the candidates' sweeps.
    pub(super) sweeps: String,
}

/// Blocks of one run of the culprit and one of the candidate before it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Confirmation {
    pub(super) blocks: u64,
    pub(super) only_culprit: u64,
    pub(super) only_before: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct One<'a> {
    pub(super) name: &'a str,
    #[serde(flatten)]
    pub(super) count: Count,
    pub(super) posterior: f64,
    pub(super) errored: u64,
    pub(super) failed_otherwise: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) left_out: Option<&'a str>,
}

impl<'a> Found<'a> {
    /// `end` is `None` where the search is not over.
    pub(super) fn new(course: &'a Course, picture: &'a Picture, end: Option<&End>, sweeps: String) -> Found<'a> {
        let likeliest = likeliest(picture);
        let p_likeliest = likeliest.map_or(0.0, |at| picture.rows[at].posterior);
        let name = |candidate: usize| course.names[candidate].as_str();
        let mut found = Found {
            format: 1,
            class: picture.class.clone(),
            state: "undecided",
            answer: "open",
            culprit: None,
            likeliest: likeliest.map(name),
            confidence: p_likeliest,
            none: picture.none,
            runs: course.spent(),
            confirmation: None,
            candidates: picture
                .rows
                .iter()
                .map(|row| One {
                    name: &row.name,
                    count: row.count,
                    posterior: row.posterior,
                    errored: row.errored,
                    failed_otherwise: row.others,
                    title: row.title.as_deref(),
                    left_out: row.left_out.as_deref(),
                })
                .collect(),
            sweeps,
        };
        match end {
            Some(End::Culprit {
                candidate,
                p,
                confirmation,
            }) => {
                (found.state, found.answer) = ("found", "culprit");
                (found.culprit, found.confidence) = (Some(name(*candidate)), *p);
                found.confirmation = confirmation.map(|decision| Confirmation {
                    blocks: decision.blocks,
                    only_culprit: decision.only_higher,
                    only_before: decision.only_lower,
                });
            }
            Some(End::NoCulprit { p }) => {
                let was_before = picture.rows.first().is_some_and(|row| row.count.failed() > 0);
                found.state = "none";
                found.answer = if was_before { "before" } else { "none" };
                found.confidence = *p;
            }
            Some(End::TooRare { .. }) => found.answer = "too rare",
            Some(End::Between { p, .. }) => (found.answer, found.confidence) = ("between", *p),
            Some(End::NotConfirmed { .. }) => found.answer = "not confirmed",
            Some(End::TooFew) => found.answer = "too few",
            None => {}
        }
        found
    }
}

/// The candidate that the change most likely came with.
pub(super) fn likeliest(picture: &Picture) -> Option<usize> {
    let by_likelihood = |a: &usize, b: &usize| picture.rows[*a].posterior.total_cmp(&picture.rows[*b].posterior);
    let found = (1..picture.rows.len()).rev().max_by(by_likelihood)?;
    (picture.rows[found].posterior > 0.0).then_some(found)
}
