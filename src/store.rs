//! stub
#![allow(missing_docs, clippy::all, clippy::pedantic, unused)]
use std::collections::BTreeSet; use std::path::{Path,PathBuf}; use crate::model::*;
pub const TRAIL: &str = "tests.jsonl";
#[derive(Debug, thiserror::Error)] #[error("x")] pub struct StoreError; impl StoreError { pub fn io(_:&str,_:&Path,_:std::io::Error)->StoreError{StoreError} }
pub struct Sweep; pub struct Claim; pub struct AttemptDir; pub enum Keep{All,Failed}
pub enum Claimed{Ours(Claim),Recorded,Elsewhere} pub enum Published{Ours(PathBuf),Superseded}
impl AttemptDir { pub fn name(&self)->&str{todo!()} pub fn path(&self)->&Path{todo!()} pub fn write_log(&mut self,_:&[u8])->Result<(),StoreError>{todo!()} }
impl Sweep { pub fn open(_:&Path,_:&Spec)->Result<Sweep,StoreError>{todo!()} pub fn keep_logs(self,_:Keep)->Self{self} pub fn dir(&self)->&Path{todo!()} pub fn recorded(&self)->Result<BTreeSet<u32>,StoreError>{todo!()}
pub fn claim(&self,_:u32)->Result<Claimed,StoreError>{todo!()} pub fn new_attempt(&self,_:&Claim,_:u32)->Result<AttemptDir,StoreError>{todo!()} pub fn lose(&self,_:AttemptDir,_:&str)->Result<(),StoreError>{todo!()}
pub fn publish(&self,_:Claim,_:AttemptDir,_:&Exit,_:&Outcome)->Result<Published,StoreError>{todo!()} pub fn retry(&self,_:&[u32])->Result<(),StoreError>{todo!()} pub fn append_event(&self,_:&Event)->Result<(),StoreError>{todo!()} pub fn outcome(&self,_:u32)->Result<Option<Outcome>,StoreError>{todo!()}
pub fn rebuild(&self,_:&[crate::commands::judged::Record],_:&str)->Result<(),StoreError>{todo!()} }
pub fn recorded(_:&Path)->Result<BTreeSet<u32>,StoreError>{todo!()}
pub struct F; pub fn run_files(_:&Path)->Result<F,StoreError>{todo!()}
