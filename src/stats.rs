//! The figures of reports: rates with intervals, comparisons, what is still needed, and whether a sweep is one thing.
//!
//! Every function is pure and total: it takes counts or a series of outcomes and returns numbers or `None`, never NaN.
//! Each names the method and where it comes from, since a reader must be able to get the same number elsewhere.

pub mod binomial;
pub mod comparison;
pub mod digits;
pub mod plan;
pub mod rate;
pub mod regime;
pub mod sequential;
pub mod sprt;

pub use comparison::{Fisher, fisher, holm};
pub use digits::p_value;
pub use plan::{clean_runs_needed, more_clean_runs_needed, runs_to_see_one};
pub use rate::{Count, clopper_pearson, upper_bound, wilson};
pub use regime::{Regime, regimes};
pub use sequential::{ArmsTest, confidence_sequence, log_e_below};
pub use sprt::Sprt;
