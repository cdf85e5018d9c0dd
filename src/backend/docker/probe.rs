//! Asking a container like the sessions' what Python and pytest it has, and whether sessions can be started ahead.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::recipe::{PACKAGES_DIR, PLUGIN_DIR, RUN_DIR, WORKSPACE};
use super::removal::SWEEP;
use super::unsupported::Unsupported;
use super::{Docker, Facts, container_name};
use crate::backend::host::Bind;
use crate::backend::toolchain::{INSPECT, Toolchain, last_line};
use crate::backend::{Backend as _, BackendError, Session as _, ineffective, known};
use crate::spec::Workspace;

/// Most that a Python prints that is asked what it is: what is installed there, and words of its own start-up.
const REPORT: usize = 16 << 20;

impl Docker {
    /// What an earlier probe was told.
    pub(super) fn recalled(&self) -> Option<Toolchain> {
        known::recall(&self.key(&self.unsupported())?)
    }

    /// What the Python of a container like the sessions' is, asked if it is not known.
    pub(super) async fn examine(&self) -> Result<Toolchain, BackendError> {
        let before = self.unsupported();
        let key = self.key(&before);
        if let Some(report) = key.as_ref().and_then(known::recall) {
            return Ok(report);
        }
        let report = self.ask().await?;
        // A container that could be made in other ways only is to teach the next sweep as well.
        let is_plain = self.unsupported() == before && self.ahead.refusal().is_none();
        if let Some(key) = key
            && is_plain
            && !self.depends_on_mounts(&report)
        {
            let report = report.clone();
            tokio::task::spawn_blocking(move || known::keep(&key, &report, Vec::new()));
        }
        Ok(report)
    }

    /// All that the answer of a probe depends on: the engine, the image by its id, and everything that the container gets.
    fn key(&self, unsupported: &Unsupported) -> Option<known::Key> {
        let mut instance = self.plan.instance(&[]);
        instance.unsupported = unsupported.clone();
        // As a value first, whose fields are in order.
        let body = serde_json::to_value(self.plan.recipe.body(&instance, None)).ok()?;
        let holder = self.ahead.program().unwrap_or_default();
        let Facts {
            address, version, api, ..
        } = &self.engine.facts;
        Some(known::Key::of(&[
            "container",
            &body.to_string(),
            &self.python,
            &holder.to_string_lossy(),
            address,
            version,
            api,
        ]))
    }

    /// Whether what Python found in an image lies, even in part, in a directory of this machine or a volume: those change
    /// while the image stays the same. This machine's own Python is known by its own report.
    fn depends_on_mounts(&self, report: &Toolchain) -> bool {
        if !self.python.is_empty() {
            return false;
        }
        let instance = self.plan.instance(&[]);
        let recipe = &self.plan.recipe;
        let own = [RUN_DIR, PLUGIN_DIR, PACKAGES_DIR];
        let binds = recipe.binds.iter().chain(&instance.binds);
        let mut mounted: Vec<&str> = binds
            .map(|bind| bind.target.as_str())
            .filter(|target| !own.contains(target))
            .collect();
        mounted.extend(recipe.volumes.iter().filter_map(|volume| volume.split(':').nth(1)));
        mounted.push(WORKSPACE);
        let searched = instance.env.iter().find(|(name, _)| name == "PYTHONPATH");
        let searched = searched.into_iter().flat_map(|(_, paths)| std::env::split_paths(paths));
        let found = report
            .hops
            .iter()
            .chain(&report.prefixes)
            .chain(&report.search)
            .chain(&report.user_base);
        let found = found
            .chain(report.distributions.values().map(|one| &one.location))
            .cloned();
        found
            .chain(searched)
            .any(|path| mounted.iter().any(|target| path.starts_with(target)))
    }

    /// Asks the Python of a container like the sessions'. The container is held at a gate if theirs are: where holding
    /// fails here, holding would fail there.
    async fn ask(&self) -> Result<Toolchain, BackendError> {
        if let Some(program) = self.ahead.program() {
            match self.examine_in(Some(program)).await {
                Ok(report) => return Ok(report),
                // Without a gate the container may run, or its error may say better what is wrong.
                Err(error) => {
                    let report = self.examine_in(None).await?;
                    self.ahead.refuse(&error);
                    return Ok(report);
                }
            }
        }
        self.examine_in(None).await
    }

    async fn examine_in(&self, holder: Option<PathBuf>) -> Result<Toolchain, BackendError> {
        let argv = ["python3", "-c", INSPECT].map(str::to_owned);
        let mut instance = self.plan.instance(&argv);
        instance.labels = self.creator.labels();
        instance.labels.insert(SWEEP.to_owned(), "probe".to_owned());
        if self.spec().container.workspace == Workspace::Fresh {
            instance.binds.push(Bind::read_only(&self.spec().directory, WORKSPACE));
        }
        let name = container_name(
            Path::new("probe"),
            &format!("{}-{}", self.creator.pid, self.creator.started),
        );
        instance.holder = holder;
        let mut session = Box::new(self.launch_container(&mut instance, &name).await?);
        session.open_gate(SystemTime::now()).await?;
        let mut output = Vec::new();
        while let Some(piece) = session.output().await? {
            output.extend_from_slice(&piece);
            if output.len() > REPORT {
                return Err(BackendError::Unfit {
                    what: format!("`python3` prints without end in {}", self.plan.place().0),
                    hint: None,
                });
            }
        }
        let ended = session.finish().await?;
        if let Some(report) = Toolchain::parse(&output) {
            return Ok(report);
        }
        let last = last_line(&output).unwrap_or_else(|| match ended.code {
            Some(code) => format!("it ended with {code} and said nothing"),
            None => "it said nothing".to_owned(),
        });
        let program = instance.argv.into_iter().next().unwrap_or_default();
        // With an init process it is that which does not find the program, after the engine has started it.
        Err(if matches!(ended.code, Some(126 | 127)) {
            BackendError::ProgramMissing {
                program,
                image: self.spec().image.clone(),
            }
        } else {
            BackendError::Unfit {
                what: format!("`python3` does not run in {}: {last}", self.plan.place().0),
                hint: None,
            }
        })
    }

    /// What the user should know of the way the containers are made.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        let Unsupported { limits, init } = self.unsupported();
        notes.extend(self.plan.no_cores());
        if init {
            notes.push("the engine has no init process to give (install catatonit); one of ours stands in".to_owned());
        }
        if !limits.is_empty() {
            let shown: Vec<String> = limits
                .iter()
                .map(|(name, limit)| match limit {
                    Some(limit) => format!("{name} is {limit}"),
                    None => format!("{name} is as it sets it"),
                })
                .collect();
            notes.push(format!("the engine may not raise limits here: {}", shown.join(", ")));
        }
        notes.extend(self.ahead.note());
        notes.extend(ineffective(self.spec(), &self.without_effect()));
        notes
    }
}
