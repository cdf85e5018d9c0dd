//! Publish before init: a table is made known before it is filled, and its reader comes "long after".

use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

struct Table {
    checksum: AtomicU64,
}

static PUBLISHED: AtomicPtr<Table> = AtomicPtr::new(std::ptr::null_mut());

const RIGHT: u64 = 42;

fn load() {
    let table: &'static Table = Box::leak(Box::new(Table { checksum: AtomicU64::new(0) }));
    PUBLISHED.store(std::ptr::from_ref(table).cast_mut(), Ordering::Release);
    // Reading the table from a disk.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(8) {
        thread::sleep(Duration::from_micros(500));
    }
    table.checksum.store(RIGHT, Ordering::Release);
}

fn read() -> bool {
    thread::sleep(Duration::from_millis(25));
    // SAFETY: what was published is never freed.
    let table = unsafe { PUBLISHED.load(Ordering::Acquire).as_ref() };
    table.is_some_and(|table| table.checksum.load(Ordering::Acquire) == RIGHT)
}

/// How many readers saw a table that was not filled.
#[unsafe(no_mangle)]
pub extern "C" fn empty_tables(rounds: u32) -> u32 {
    let mut empty = 0;
    for _ in 0..rounds {
        PUBLISHED.store(std::ptr::null_mut(), Ordering::Release);
        let loader = thread::Builder::new().name("loader".to_owned()).spawn(load).unwrap();
        let reader = thread::Builder::new().name("reader".to_owned()).spawn(read).unwrap();
        loader.join().unwrap();
        empty += u32::from(!reader.join().unwrap());
    }
    empty
}
