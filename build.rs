//! Lists every file of `signatures/` for embedding, so that a new one needs no Rust, builds the program that holds a
//! container's session until its turn, and names the commit for `--version`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let root = Path::new(&root);
    embed_signatures(root)?;
    build_gate(root)?;
    name_commit(root);
    Ok(())
}

fn embed_signatures(root: &Path) -> io::Result<()> {
    let folder = root.join("signatures");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            names.push(path);
        }
    }
    names.sort();
    let mut list = String::from("[\n");
    for path in names {
        println!("cargo:rerun-if-changed={}", path.display());
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let shown = format!("signatures/{name}");
        writeln!(list, "    ({shown:?}, include_str!({:?})),", path.display().to_string()).map_err(io::Error::other)?;
    }
    list.push_str("]\n");
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    fs::write(Path::new(&out).join("signatures.rs"), list)
}

/// Builds `gate/gate.rs`, a static program for Linux, apart from the package. Where no linker here can do that, as
/// without a static C library, an empty file takes its place, and the tool starts no container ahead.
fn build_gate(root: &Path) -> io::Result<()> {
    let source = root.join("gate/gate.rs");
    println!("cargo:rerun-if-changed={}", root.join("gate").display());
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let program = Path::new(&variable("OUT_DIR")).join("gate");
    let is_linux = variable("CARGO_CFG_TARGET_OS") == "linux" && variable("CARGO_CFG_TARGET_POINTER_WIDTH") == "64";
    let built = if is_linux {
        compile_gate(&source, &program)
    } else {
        Err("it is a program for 64-bit Linux".to_owned())
    };
    if let Err(cause) = built {
        println!("cargo:warning=containers will not be started ahead of their turn: {cause}");
        fs::write(&program, [])?;
    }
    Ok(())
}

/// Compiles the gate with the first linker that can link it statically: the one that cargo was told to use; the usual
/// one of this machine, since zig, which links wheels against an old C library, has no static one; Rust's own, where
/// the parts for musl are installed.
///
/// # Errors
/// What the first of them said.
fn compile_gate(source: &Path, program: &Path) -> Result<(), String> {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let target = variable("TARGET");
    let mut ways: Vec<(String, Vec<OsString>)> = Vec::new();
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = OsString::from("linker=");
        option.push(linker);
        ways.push((target.clone(), vec!["-C".into(), option]));
    }
    if variable("HOST") == target {
        ways.push((target.clone(), Vec::new()));
    }
    let own = [
        "-C",
        "linker=rust-lld",
        "-C",
        "linker-flavor=ld.lld",
        "-C",
        "link-self-contained=yes",
    ];
    let musl = format!("{}-unknown-linux-musl", variable("CARGO_CFG_TARGET_ARCH"));
    ways.push((musl, own.map(OsString::from).to_vec()));
    let mut first: Result<(), String> = Ok(());
    for (target, linker) in ways {
        let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        command.args(["--edition", "2024", "--crate-type", "bin", "--crate-name", "gate"]);
        command.args(["--target", &target, "-C", "target-feature=+crt-static"]);
        command.args(["-C", "opt-level=s", "-C", "panic=abort", "-C", "strip=symbols"]);
        command.args(linker).arg("-o").arg(program).arg(source);
        let cause = match command.output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => {
                let words = String::from_utf8_lossy(&output.stderr).into_owned();
                let line = words.lines().find(|line| line.starts_with("error"));
                line.unwrap_or("rustc failed").to_owned()
            }
            Err(error) => error.to_string(),
        };
        first = first.and(Err(cause));
    }
    first
}

/// Sets `RF_COMMIT`, empty where this is no checkout.
fn name_commit(root: &Path) {
    let git = |args: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(args).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    // A package unpacked inside somebody else's checkout must not take that one's commit for its own.
    let is_ours = git(&["rev-parse", "--show-toplevel"])
        .is_some_and(|top| Path::new(&top).canonicalize().ok() == root.canonicalize().ok());
    let commit = is_ours.then(|| git(&["rev-parse", "--short", "HEAD"])).flatten();
    println!("cargo:rustc-env=RF_COMMIT={}", commit.unwrap_or_default());
    if is_ours {
        // A commit changes the log of HEAD; a file that does not exist would rerun this every time.
        for name in ["HEAD", "logs/HEAD"] {
            if let Some(path) = git(&["rev-parse", "--git-path", name]) {
                let path = root.join(path);
                if path.exists() {
                    println!("cargo:rerun-if-changed={}", path.display());
                }
            }
        }
    }
}
