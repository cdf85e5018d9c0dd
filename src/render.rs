//! stub
#![allow(missing_docs)]
pub mod text { pub fn summary(_:&crate::commands::judged::Summary)->String{todo!()} }
