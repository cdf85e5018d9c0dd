//! stub
#![allow(missing_docs, unused, clippy::all, clippy::pedantic)]
pub fn load(_:Option<&std::path::Path>)->anyhow::Result<crate::judge::SignatureSet>{todo!()}
