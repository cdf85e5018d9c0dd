//! A disk that is full from some write on, wherever that is.

use std::fs;

use crate::cli::Place;
use crate::place::{Mount, Need, skip};

/// Nothing false is recorded, what is said names the disk and what to do, and once there is room the same command
/// completes the sweep. Returns whether the disk was too small.
#[track_caller]
fn completed_once_there_is_room(disk: &Mount, which: &str) -> bool {
    let place = Place::passing();
    let logs = disk.path().join("logs").display().to_string();
    let words = [
        "--backend",
        "local",
        "--progress",
        "none",
        "-e",
        "2",
        "--logs-dir",
        &logs,
    ];
    let full = place.run(&words);
    let was_full = full.code() != Some(0);
    if was_full {
        assert!(full.err().contains("o space left"), "{which}: {}", full.err());
        assert!(full.err().contains("hint: free space"), "{which}: {}", full.err());
    }
    disk.grow();
    place.run(&words).exits(0);
    let rows = place.rows(&format!("{logs}/serial"));
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), [1, 2], "{which}");
    for number in 1..=2 {
        let run = disk.path().join(format!("logs/serial/run{number:03}"));
        for name in ["exit.json", "outcome.json"] {
            let value: serde_json::Value = serde_json::from_slice(&fs::read(run.join(name)).unwrap()).unwrap();
            assert!(value.is_object(), "{which}: {name}");
        }
        let log = fs::read_to_string(run.join("run.log")).unwrap();
        assert_eq!(log.matches("1 passed").count(), 1, "{which}: {log}");
    }
    assert!(rows.values().all(|row| row["verdict"] == "passed"), "{which}: {rows:?}");
    was_full
}

#[test]
fn a_disk_that_is_full_at_any_write_costs_no_record() {
    // Two iterations take about twenty pages; each of these is full at another write.
    let mut full = 0;
    for pages in (1..=21).step_by(2) {
        let Some(disk) = Mount::tmpfs(&format!("{}k", pages * 4)) else {
            return skip(Need::Root, "takes root to mount a small disk");
        };
        full += u32::from(completed_once_there_is_room(&disk, &format!("{pages} pages")));
    }
    assert!(full >= 5, "only {full} of these disks were full");
}

#[test]
fn a_disk_that_takes_no_more_files_costs_no_record() {
    let mut full = 0;
    for files in 2..=24 {
        let Some(disk) = Mount::of_files(files) else {
            return skip(Need::Root, "takes root to mount a small disk");
        };
        full += u32::from(completed_once_there_is_room(&disk, &format!("{files} files")));
    }
    assert!(full >= 10, "only {full} of these disks were full");
}
