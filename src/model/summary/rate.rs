//! A failure rate and how its interval is made.

use serde::Serialize;

use super::super::Spec;
use crate::stats::{self, Count};

/// A failure rate with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// Failed of passed or failed.
    #[serde(flatten)]
    pub count: Count,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Its confidence.
    pub confidence: f64,
    /// How it was made.
    pub method: Method,
}

/// How an interval was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// For a number of iterations that was fixed beforehand.
    Wilson,
    /// For one that depends on what they showed, since a stop rule ended the sweep.
    ConfidenceSequence,
}

impl Method {
    /// The one that the end of a sweep calls for.
    pub(super) fn of(spec: Option<&Spec>) -> Method {
        match spec.and_then(Spec::stop_rule) {
            Some(_) => Method::ConfidenceSequence,
            None => Method::Wilson,
        }
    }
}

impl Rate {
    /// The rate of `failed` iterations in `of`.
    #[must_use]
    pub fn new(failed: u64, of: u64, confidence: f64, method: Method) -> Rate {
        let count = Count::new(failed, of).unwrap_or_default();
        let (low, high) = match method {
            Method::Wilson => count.interval(confidence),
            Method::ConfidenceSequence => stats::confidence_sequence(count, 1.0 - confidence),
        };
        Rate {
            count,
            low,
            high,
            confidence,
            method,
        }
    }
}
