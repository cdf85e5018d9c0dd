//! stub
#![allow(missing_docs, unused, clippy::all, clippy::pedantic)]
use crate::model::*; pub struct Record{pub iteration:u32,pub outcome:Outcome} pub struct Judged{pub records:Vec<Record>} pub struct Summary;
impl Judged{pub fn summary(&self,_:&crate::judge::SignatureSet)->Summary{todo!()}}
pub fn sweep(_:&std::path::Path,_:&crate::judge::SignatureSet)->Result<Judged,crate::store::StoreError>{todo!()}
pub fn print_screen(_:&Summary)->anyhow::Result<()>{todo!()}
