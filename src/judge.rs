//! stub
#![allow(missing_docs, clippy::all, clippy::pedantic, unused)]
pub struct SignatureSet; impl SignatureSet{pub fn built_in()->Self{SignatureSet}}
pub fn judge(_:&crate::store::F,_:Option<&crate::model::Exit>,_:&SignatureSet)->std::io::Result<crate::model::Outcome>{todo!()}
