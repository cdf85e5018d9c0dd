//! The figures of reports: rates with intervals, comparisons, what is still needed, and whether a sweep is one thing.
//!
//! Every function is pure and total: it takes counts or a series of outcomes and returns numbers or `None`, never NaN.
//! Each names the method and where it comes from, since a reader must be able to get the same number elsewhere.

pub mod answers;
pub mod blame;
pub mod comparison;
pub mod conditions;
pub mod drift;
pub mod durations;
pub mod history;
pub mod nodes;
pub mod plan;
pub mod regression;
pub mod sample;
pub mod test_rate;
pub mod track;

pub mod amplify;
pub mod barnard;
pub mod binomial;
pub mod block;
pub mod culprit;
pub mod digits;
pub mod draw;
pub mod fisher;
pub mod prove;
pub mod rate;
pub mod regime;
pub mod runs_needed;
pub mod sequential;
pub mod sign;
pub mod sprt;
pub mod starvation;

pub use answers::Answers;
pub use barnard::{ExactTest, OneSided, Sizes};
pub use block::{Answer, Block, Conclusion};
pub use digits::{counted, iterations, p_value, percent};
pub use fisher::{Fisher, fisher, fisher_greater, fisher_less, holm};
pub use rate::{Count, Method, Rate, clopper_pearson, upper_bound, wilson};
pub use regime::Regime;
pub use runs_needed::{clean_runs_needed, more_clean_runs_needed, runs_to_see_one};
pub use sequential::{ArmsTest, confidence_sequence, log_e_below};
