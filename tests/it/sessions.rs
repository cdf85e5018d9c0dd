//! Sessions of a backend as the tests start them: a workspace, a sweep, an attempt, and everything it printed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use reproduce_flaky::backend::{self, Attempt, Backend, BackendError, Ended, Plugin, Session, Signal};
use reproduce_flaky::run::{AttemptDirs, RunDir};
use reproduce_flaky::spec::{BackendKind, Deadlines, EnvVar, Spec};

/// Longest time anything here may take before the test is lost anyway.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A sweep in a directory of its own.
pub(crate) struct Sweep {
    /// What it runs; changed before `open`.
    pub(crate) spec: Spec,
    /// The directory it was started in.
    pub(crate) workspace: PathBuf,
    /// What the backend said while it was made ready.
    pub(crate) told: Arc<std::sync::Mutex<Vec<String>>>,
    base: tempfile::TempDir,
}

static ATTEMPTS: AtomicU32 = AtomicU32::new(0);

impl Sweep {
    /// A sweep of an image, or of this machine if `image` is empty.
    pub(crate) fn new(image: &str) -> Sweep {
        let base = tempfile::Builder::new().prefix("rf-it-").tempdir().unwrap();
        let workspace = base.path().join("work");
        std::fs::create_dir(&workspace).unwrap();
        Sweep {
            spec: Spec {
                tool: "test".to_owned(),
                backend: if image.is_empty() {
                    BackendKind::Local
                } else {
                    BackendKind::Docker
                },
                image: image.to_owned(),
                trail: false,
                directory: workspace.clone(),
                deadlines: Deadlines {
                    total_s: 60.0,
                    ..Deadlines::default()
                },
                ..Spec::default()
            },
            workspace,
            told: Arc::default(),
            base,
        }
    }

    /// A file of the workspace.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.workspace.join(name), text).unwrap();
    }

    /// A variable of the sessions.
    pub(crate) fn env(&mut self, name: &str, value: &str) {
        self.spec.env.push(EnvVar {
            name: name.to_owned(),
            value: Some(value.to_owned()),
        });
    }

    /// The backend.
    pub(crate) async fn open(&self) -> Result<Arc<dyn Backend>, BackendError> {
        self.open_with(None).await
    }

    /// The backend, with a plugin.
    pub(crate) async fn open_with(&self, plugin: Option<&Plugin>) -> Result<Arc<dyn Backend>, BackendError> {
        let told = Arc::clone(&self.told);
        backend::open(&self.spec, plugin, &move |text| {
            told.lock().unwrap().push(text.to_owned());
        })
        .await
    }

    /// An attempt at running a Python program.
    pub(crate) fn python(&self, program: &str) -> Attempt {
        self.attempt(&["python3", "-c", program])
    }

    /// An attempt at running a command.
    pub(crate) fn attempt(&self, argv: &[&str]) -> Attempt {
        let n = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
        let name = format!("run007.test-{}-{n}", std::process::id());
        let sweep = self.base.path().join("logs/serial");
        let attempts = sweep.join(".attempts");
        std::fs::create_dir_all(&attempts).unwrap();
        let dirs = AttemptDirs::make(&RunDir::open(&attempts).unwrap(), &name).unwrap();
        Attempt {
            iteration: 7,
            name,
            dir: dirs.session.path().to_owned(),
            dirs: Some(dirs),
            guarded: vec![sweep.clone()],
            sweep,
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            env: vec![("REPRODUCE_FLAKY_ITERATION".to_owned(), "7".to_owned())],
            dir_env: vec![("DYN_TEST_OUTPUT_PATH".to_owned(), String::new())],
        }
    }
}

/// Reads a session to its end.
pub(crate) async fn drain(session: &mut dyn Session) -> Result<String, BackendError> {
    let mut output = Vec::new();
    while let Some(piece) = tokio::time::timeout(PATIENCE, session.output())
        .await
        .expect("output in time")?
    {
        output.extend_from_slice(&piece);
    }
    Ok(String::from_utf8_lossy(&output).into_owned())
}

/// Reads until a line of it appears.
pub(crate) async fn read_until(session: &mut dyn Session, word: &str) -> String {
    let mut output = String::new();
    while !output.contains(word) {
        let piece = tokio::time::timeout(PATIENCE, session.output())
            .await
            .expect("output in time")
            .unwrap();
        output.push_str(&String::from_utf8_lossy(&piece.expect("the session goes on")));
    }
    output
}

/// Runs an attempt to its end.
pub(crate) async fn run(backend: &dyn Backend, attempt: &Attempt) -> Result<(String, Ended), BackendError> {
    let mut session = backend.start(attempt).await?;
    let output = drain(&mut *session).await?;
    let ended = tokio::time::timeout(PATIENCE, session.finish())
        .await
        .expect("facts in time")?;
    Ok((output, ended))
}

/// Kills a session and reads it to its end.
pub(crate) async fn kill(mut session: Box<dyn Session>) -> Ended {
    session.signal(Signal::Kill).await.unwrap();
    drain(&mut *session).await.unwrap();
    session.finish().await.unwrap()
}
