//! Double init: whoever finds the cell empty makes a runtime and sets it, and a second one is a bug that aborts the process.

use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

fn runtime(cell: &OnceLock<u64>) -> u64 {
    if let Some(found) = cell.get() {
        return *found;
    }
    // Starting the runtime's threads.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(8) {
        thread::sleep(Duration::from_micros(500));
    }
    cell.set(7).expect("the runtime was initialized twice");
    7
}

/// Asks for the runtime from two threads, the second one some time after the first.
#[unsafe(no_mangle)]
pub extern "C" fn use_runtime(rounds: u32) -> u32 {
    for _ in 0..rounds {
        let cell = Arc::new(OnceLock::new());
        let users: Vec<_> = (0..2_u64)
            .map(|user| {
                let cell = Arc::clone(&cell);
                let late = Duration::from_millis(30 * user);
                let name = format!("user-{user}");
                let body = move || {
                    thread::sleep(late);
                    runtime(&cell)
                };
                thread::Builder::new().name(name).spawn(body).unwrap()
            })
            .collect();
        for user in users {
            user.join().unwrap();
        }
    }
    0
}
