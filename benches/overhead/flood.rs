//! A session that prints a gigabyte: every byte kept, how fast against `docker run > file`, in how much memory.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::container::{Container, PYTEST, tool};
use super::median;

/// Runs its arguments and says on standard error how much memory the largest of the processes had, in KiB.
const WATCHED: &str = "import resource, subprocess, sys\n\
    code = subprocess.run(sys.argv[1:]).returncode\n\
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)\n\
    sys.exit(code)\n";

/// Wall time, and memory of the largest process, in MiB.
struct Ran {
    wall_s: f64,
    memory_mib: f64,
}

pub(crate) fn measure(dir: &Path, container: &Container, mib: usize, rounds: usize) {
    let test = format!(
        "import os\ndef test_a():\n    piece = (b'x' * 99 + b'\\n') * 10486\n    for n in range({mib}): os.write(1, piece)\n"
    );
    fs::write(dir.join("test_bench.py"), test).unwrap();
    let least = mib as u64 * (1 << 20);
    let mut pairs = Vec::new();
    for round in 0..rounds {
        let ran = if round % 2 == 0 {
            let first = ours(dir, least);
            (first, docker_run(dir, container, least))
        } else {
            let first = docker_run(dir, container, least);
            (ours(dir, least), first)
        };
        pairs.push(ran);
    }
    let of = |figure: &dyn Fn(&(Ran, Ran)) -> f64| median(&pairs.iter().map(figure).collect::<Vec<_>>());
    println!(
        "{mib} MiB printed: this tool {:.2} s, `docker run > file` {:.2} s, ratio {:.2}; its largest process had {:.0} MiB",
        of(&|pair| pair.0.wall_s),
        of(&|pair| pair.1.wall_s),
        of(&|pair| pair.0.wall_s / pair.1.wall_s),
        of(&|pair| pair.0.memory_mib)
    );
}

fn ours(dir: &Path, least: u64) -> Ran {
    let logs = tempfile::tempdir_in(dir).unwrap();
    let mut command = Command::new("python3");
    command
        .args(["-c", WATCHED])
        .arg(tool().get_program())
        .args(["--image", "host", "--progress", "none", "-e", "1", "--logs-dir"])
        .arg(logs.path())
        .args(["--pytest-nodeid", "test_bench.py", "--", "-s"])
        .args(PYTEST)
        .stdout(Stdio::null());
    let ran = watched(&mut command, dir);
    let kept = fs::metadata(logs.path().join("serial/run001/run.log")).unwrap().len();
    assert!(kept >= least, "{kept} bytes kept of {least}");
    ran
}

fn docker_run(dir: &Path, container: &Container, least: u64) -> Ran {
    let logs = tempfile::tempdir_in(dir).unwrap();
    let log = logs.path().join("run.log");
    let mut command = Command::new("python3");
    command
        .args(["-c", WATCHED, "docker", "run", "--rm"])
        .args(&container.flags)
        .args([
            "--entrypoint",
            &container.python,
            &container.image,
            "-m",
            "pytest",
            "test_bench.py",
            "-s",
        ])
        .args(PYTEST)
        .stdout(File::create(&log).unwrap());
    let ran = watched(&mut command, dir);
    assert!(fs::metadata(&log).unwrap().len() >= least);
    ran
}

fn watched(command: &mut Command, dir: &Path) -> Ran {
    let began = Instant::now();
    let output = command
        .current_dir(dir)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    let wall_s = began.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let memory: f64 = said.lines().last().unwrap().parse().unwrap();
    Ran {
        wall_s,
        memory_mib: memory / 1024.0,
    }
}
