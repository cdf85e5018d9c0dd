//! The workspace of a session: pristine, read-only, or a copy where no overlay can be mounted.

use reproduce_flaky::spec::Workspace;

use super::close;
use crate::engine::{daemon, docker};
use crate::sessions::{Sweep, run};

#[tokio::test]
async fn a_fresh_workspace_is_pristine_every_time() {
    if !daemon() {
        return;
    }
    let mut sweep = Sweep::new("host");
    sweep.spec.container.workspace = Workspace::Fresh;
    sweep.write("kept", "pristine");
    let backend = sweep.open().await.unwrap();
    let program = "import os; print(sorted(os.listdir('.')), open('kept').read())
open('kept', 'w').write('changed'); open('new', 'w').close(); os.mkdir('dir')";
    let mut name = String::new();
    for _ in 0..2 {
        let attempt = sweep.python(program);
        let (output, _) = run(&*backend, &attempt).await.unwrap();
        assert_eq!(output, "['kept'] pristine\n");
        close(&*backend, &attempt).await;
        name = attempt.name;
    }
    assert_eq!(
        std::fs::read_to_string(sweep.workspace.join("kept")).unwrap(),
        "pristine"
    );
    assert_eq!(
        docker(&["volume", "ls", "-q", "--filter", &format!("name={name}")]).as_deref(),
        Some("")
    );
}

#[tokio::test]
async fn a_fresh_workspace_is_copied_where_no_overlay_can_be_mounted_over_it() {
    if !daemon() {
        return;
    }
    let mut sweep = Sweep::new("host");
    sweep.spec.container.workspace = Workspace::Fresh;
    let odd = sweep.workspace.join("with,comma");
    std::fs::create_dir_all(odd.join("below")).unwrap();
    std::fs::write(odd.join("below/kept"), "pristine").unwrap();
    std::os::unix::fs::symlink("below/kept", odd.join("link")).unwrap();
    sweep.spec.directory = odd;
    let backend = sweep.open().await.unwrap();
    for _ in 0..2 {
        let attempt = sweep.python("print(open('link').read()); open('link', 'w').write('changed')");
        let (output, _) = run(&*backend, &attempt).await.unwrap();
        assert_eq!(output, "pristine\n");
        close(&*backend, &attempt).await;
    }
}

#[tokio::test]
async fn a_read_only_workspace_cannot_be_written_to() {
    if !daemon() {
        return;
    }
    let mut sweep = Sweep::new("host");
    sweep.spec.container.workspace = Workspace::Ro;
    let backend = sweep.open().await.unwrap();
    let attempt = sweep.python("open('new', 'w')");
    let (output, ended) = run(&*backend, &attempt).await.unwrap();
    assert!(output.contains("Read-only file system"), "{output}");
    assert_eq!(ended.code, Some(1));
    close(&*backend, &attempt).await;
}
