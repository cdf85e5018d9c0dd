//! The page about other engines: what it shows is run where its tools are, and read where they are not.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::cli::{Place, Ran, search_path, until};
use crate::debian::Programs;
use crate::engine::{containers_of, daemon};
use crate::place::{Need, night, root, skip};

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `sshd` on a port of loopback, with a key of its own for root. Where the machine has no user to separate privileges
/// with, it sees a list of users that has one.
fn start_sshd(programs: &Programs, dir: &Path, port: u16) -> Server {
    let at = |name: &str| dir.join(name).display().to_string();
    for key in ["host", "user"] {
        let made = Command::new(programs.path("ssh-keygen"))
            .args(["-q", "-t", "ed25519", "-N", "", "-f", &at(key)])
            .status();
        assert!(made.unwrap().success());
    }
    fs::copy(at("user.pub"), at("authorized")).unwrap();
    fs::create_dir_all("/run/sshd").unwrap();
    let mut users = fs::read_to_string("/etc/passwd").unwrap();
    if !users.contains("\nsshd:") {
        users += "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n";
    }
    fs::write(at("passwd"), users).unwrap();
    let mut server = Command::new("unshare");
    server
        .args([
            "-m",
            "sh",
            "-c",
            "mount --bind \"$1\" /etc/passwd && shift && exec \"$@\"",
            "sh",
        ])
        .arg(at("passwd"))
        .arg(programs.path("sshd"))
        .args(["-D", "-f", "/dev/null", "-h", &at("host"), "-p", &port.to_string()]);
    for option in [
        "ListenAddress=127.0.0.1",
        "StrictModes=no",
        "UsePAM=no",
        "PermitRootLogin=yes",
        &format!("AuthorizedKeysFile={}", at("authorized")),
        &format!("PidFile={}", at("pid")),
        // The same Python as here.
        &format!("SetEnv=PATH={}", search_path().display()),
    ] {
        server.args(["-o", option]);
    }
    server.envs(programs.environment()).stderr(Stdio::null());
    Server(server.spawn().unwrap())
}

#[test]
fn gnu_parallel_runs_workers_over_ssh_and_each_iteration_is_recorded_once() {
    if !night() || !root() {
        return;
    }
    let names = ["parallel", "sshd", "ssh", "ssh-keygen"];
    let Some(programs) = Programs::of(
        Need::Parallel,
        &names,
        &["parallel", "openssh-server", "openssh-client"],
    ) else {
        return;
    };
    let place = Place::passing();
    let ssh = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = start_sshd(&programs, ssh.path(), port);
    until("the ssh server", || {
        std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_ok()
    });
    let listed = place
        .run(&["--engine", "list", "--backend", "local", "-e", "6"])
        .exits(0);
    assert_eq!(listed.out(), "1\n2\n3\n4\n5\n6\n");
    fs::write(place.path("numbers"), listed.out()).unwrap();
    let login = format!(
        "2/{} -p {port} -i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR root@127.0.0.1",
        programs.path("ssh").display(),
        ssh.path().join("user").display()
    );
    let here = place.dir.path().canonicalize().unwrap();
    let ran = Command::new(programs.path("parallel"))
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
        .envs(programs.environment())
        .env("PARALLEL_HOME", ssh.path())
        .output()
        .unwrap();
    drop(server);
    assert!(ran.status.success(), "{ran:?}");
    let rows = place.rows("logs/serial");
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    place
        .run(&["--engine", "list", "--backend", "local", "-e", "6"])
        .exits(0);
}

#[test]
fn a_container_engine_is_reached_over_ssh_as_docker_reaches_it() {
    if !daemon() || !root() {
        return;
    }
    let names = ["sshd", "ssh", "ssh-keygen"];
    let Some(programs) = Programs::of(Need::Parallel, &names, &["openssh-server", "openssh-client"]) else {
        return;
    };
    let ssh = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = start_sshd(&programs, ssh.path(), port);
    until("the ssh server", || {
        std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_ok()
    });
    // What a user has in a configuration of ssh's.
    let mut script = "#!/bin/sh\n".to_owned();
    for (name, value) in programs.environment() {
        writeln!(script, "export {name}='{}'", value.display()).unwrap();
    }
    writeln!(
        script,
        "exec {} -i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \"$@\"",
        programs.path("ssh").display(),
        ssh.path().join("user").display()
    )
    .unwrap();
    let own = ssh.path().join("own");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("ssh"), script).unwrap();
    fs::set_permissions(own.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::join_paths([own].into_iter().chain(std::env::split_paths(search_path()))).unwrap();
    let place = Place::passing();
    let address = format!("ssh://root@127.0.0.1:{port}");
    let words = [
        "-i",
        "host",
        "-e",
        "2",
        "-j",
        "2",
        "--progress",
        "none",
        "--docker-host",
        &address,
    ];
    let run = |words: &[&str]| Ran::of(place.command(words).env("PATH", &path).output().unwrap());
    run(&words).exits(0);
    assert_eq!(place.rows("logs/serial").len(), 2);
    assert_eq!(containers_of(place.dir.path()), "");
    let doctor = run(&["doctor", "--docker-host", &address]).exits(0).out();
    assert!(doctor.contains(&format!("at {address}: --docker-host")), "{doctor}");
    // Another place for the socket, where there is none.
    let nowhere = format!("{address}/nowhere/docker.sock");
    let said = run(&[&words[..9], &[&nowhere]].concat()).exits(1).err();
    assert!(
        said.contains(&format!("no container engine answers at `{nowhere}`: ssh says: ")),
        "{said}"
    );
    drop(server);
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
        return skip(Need::Yaml, "no PyYAML to read the manifests with");
    }
    let read = Command::new("python3")
        .arg("-c")
        .arg(check)
        .args(&files)
        .output()
        .unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
}
