//! How pytest is called and read.
pub mod marker;
pub mod argv { #![allow(missing_docs,unused)] pub fn argv(_:crate::model::Mode,_:bool,_:&[String])->Vec<String>{todo!()} }
pub mod trail { #![allow(missing_docs)] pub const TRAIL_ENV:&str="REPRODUCE_FLAKY_TRAIL"; }
