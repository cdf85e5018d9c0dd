//! What a pytest session prints, and the trail that our plugin leaves.
//!
//! Everything in here works on bytes that are handed in; nothing opens a file.

pub mod argv;
pub mod closing;
pub mod console;
pub mod lines;
pub mod marker;
pub mod nodeid;
pub mod order;
pub mod prefix;
pub mod shape;
pub mod trail;
