//! The figures of reports: rates with intervals, comparisons, what is still needed, and whether a sweep is one thing.
//!
//! Every function is pure and total: it takes counts or a series of outcomes and returns numbers or `None`, never NaN.
//! Each names the method and where it comes from, since a reader must be able to get the same number elsewhere.

pub mod binomial;
pub mod rate;

pub use rate::{Count, clopper_pearson, upper_bound, wilson};
