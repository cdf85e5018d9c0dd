//! Whose the files are that a container leaves.

use reproduce_flaky::spec::Workspace;

use super::close;
use crate::engine::{DEBIAN, daemon, debian, has, is_role, role};
use crate::place::root;
use crate::sessions::{Sweep, run};

#[tokio::test]
async fn files_that_a_container_wrote_as_somebody_else_are_the_callers() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    if !daemon() || !root() || !debian() {
        return;
    }
    let mut sweep = Sweep::new(DEBIAN);
    sweep.spec.container.user = Some("1234:1234".to_owned());
    let open_to_all = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(&sweep.workspace, open_to_all.clone()).unwrap();
    let backend = sweep.open().await.unwrap();
    let attempt = sweep.python(
        "import os; os.makedirs('/reproduce-flaky/run/a/b'); open('/reproduce-flaky/run/a/b/c', 'w'); open('made', 'w')",
    );
    std::fs::set_permissions(&attempt.dir, open_to_all).unwrap();
    let (output, ended) = run(&*backend, &attempt).await.unwrap();
    assert_eq!(ended.code, Some(0), "{output}");
    let uid = |path: &std::path::Path| path.metadata().unwrap().uid();
    assert_eq!(uid(&attempt.dir.join("a/b/c")), 0);
    assert_eq!(uid(&attempt.dir.join("a")), 0);
    // The workspace is handed over once, when no session runs in it any more.
    close(&*backend, &attempt).await;
    assert_eq!(uid(&sweep.workspace.join("made")), 0);
}

#[tokio::test]
async fn an_ordinary_user_of_the_engine_owns_what_root_wrote_in_the_container() {
    if !daemon() || !root() || !has("setpriv") || !debian() {
        return;
    }
    let group = std::process::Command::new("stat")
        .args(["-c", "%g", "/var/run/docker.sock"])
        .output()
        .unwrap();
    let group = String::from_utf8_lossy(&group.stdout).trim().to_owned();
    let base = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(base.path(), Some(65534), Some(65534)).unwrap();
    let groups = format!("--groups={group}");
    let output = role(
        "docker::owners::as_an_ordinary_user",
        &[
            ("TMPDIR", base.path().to_str().unwrap()),
            ("HOME", base.path().to_str().unwrap()),
        ],
        &["setpriv", "--reuid=65534", "--regid=65534", &groups],
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("ALL MINE"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn as_an_ordinary_user() {
    use std::os::unix::fs::MetadataExt;
    if !is_role("docker::owners::as_an_ordinary_user") {
        return;
    }
    let mut sweep = Sweep::new(DEBIAN);
    let program = "import os; os.makedirs('/reproduce-flaky/run/a/b'); open('/reproduce-flaky/run/a/b/c', 'w'); open('made', 'w')";
    let backend = sweep.open().await.unwrap();
    let attempt = sweep.python(program);
    let (output, ended) = run(&*backend, &attempt).await.unwrap();
    assert_eq!(ended.code, Some(0), "{output}");
    let uid = |path: &std::path::Path| path.metadata().unwrap().uid();
    assert_eq!(uid(&attempt.dir.join("a/b/c")), 65534);
    assert_eq!(uid(&attempt.dir.join("a")), 65534);
    // The workspace is handed over once, when no session runs in it any more.
    close(&*backend, &attempt).await;
    assert_eq!(uid(&sweep.workspace.join("made")), 65534);
    // The same user has a pristine tree too, though it could mount nothing itself.
    sweep.spec.container.workspace = Workspace::Fresh;
    let backend = sweep.open().await.unwrap();
    let attempt = sweep.python("open('made', 'w').write('x'); open('another', 'w')");
    let (output, ended) = run(&*backend, &attempt).await.unwrap();
    assert_eq!(ended.code, Some(0), "{output}");
    assert!(!sweep.workspace.join("another").exists());
    close(&*backend, &attempt).await;
    println!("ALL MINE");
}
