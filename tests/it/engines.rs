//! The page about other engines: what it shows is run where its tools are, and read where they are not.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cli::{Place, until};
use crate::engine::{has, is_root};
use crate::place::skip;

#[test]
fn gnu_parallel_runs_workers_over_ssh_and_each_iteration_is_recorded_once() {
    if !is_root() || !has("parallel") || !Path::new("/usr/sbin/sshd").exists() {
        return skip("GNU parallel, an ssh server and root");
    }
    let place = Place::passing();
    let ssh = tempfile::tempdir().unwrap();
    let at = |name: &str| ssh.path().join(name).display().to_string();
    for key in ["host", "user"] {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f", &at(key)])
            .status();
        assert!(made.unwrap().success());
    }
    fs::copy(at("user.pub"), at("authorized")).unwrap();
    fs::create_dir_all("/run/sshd").unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
        .to_string();
    let mut server = Command::new("/usr/sbin/sshd")
        .args(["-D", "-f", "/dev/null", "-h", &at("host"), "-p", &port])
        .args([
            "-o",
            "ListenAddress=127.0.0.1",
            "-o",
            "StrictModes=no",
            "-o",
            "UsePAM=no",
            "-o",
            "PermitRootLogin=yes",
        ])
        .args([
            "-o",
            &format!("AuthorizedKeysFile={}", at("authorized")),
            "-o",
            &format!("PidFile={}", at("pid")),
        ])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("the ssh server", || {
        std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_ok()
    });
    let listed = place
        .run(&["--engine", "list", "--backend", "local", "-e", "6"])
        .exits(0);
    assert_eq!(listed.out(), "1\n2\n3\n4\n5\n6\n");
    fs::write(place.path("numbers"), listed.out()).unwrap();
    let login = format!(
        "2/ssh -p {port} -i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR root@127.0.0.1",
        at("user")
    );
    let here = place.dir.path().canonicalize().unwrap();
    let ran = Command::new("parallel")
        .args([
            "--will-cite",
            "-S",
            &login,
            "--wd",
            here.to_str().unwrap(),
            "-a",
            "numbers",
        ])
        .args([
            env!("CARGO_BIN_EXE_reproduce-flaky"),
            "worker",
            "logs/serial",
            "--iteration",
            "{}",
        ])
        .current_dir(&here)
        .stdin(Stdio::null())
        .env("PARALLEL_HOME", ssh.path())
        .output()
        .unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let rows = place.rows("logs/serial");
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    place
        .run(&["--engine", "list", "--backend", "local", "-e", "6"])
        .exits(0);
}

#[test]
fn the_manifests_are_yaml_and_call_what_there_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/engines");
    let check = "import sys, yaml; [list(yaml.safe_load_all(open(path))) for path in sys.argv[1:]]";
    let files = ["ci-matrix.yml", "kubernetes-indexed-job.yaml"].map(|name| root.join(name));
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains("reproduce-flaky"), "{}", file.display());
    }
    if !Command::new("python3")
        .args(["-c", "import yaml"])
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
    {
        return skip("no PyYAML to read the manifests with");
    }
    let read = Command::new("python3")
        .arg("-c")
        .arg(check)
        .args(&files)
        .output()
        .unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
}
