//! How pytest is called and read: its command line, what it prints, and the trail our plugin leaves.
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
pub mod row;
pub mod trail;
