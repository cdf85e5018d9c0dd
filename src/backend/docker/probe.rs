//! Asking what is in the place that the sessions will run in, and whether they can be started ahead there.

use std::path::Path;
use std::time::SystemTime;

use super::lacks::Lacks;
use super::recipe::{self, WORKSPACE};
use super::removal::SWEEP;
use super::{Docker, container_name, gate};
use crate::backend::host::Bind;
use crate::backend::toolchain::{INSPECT, Report, last_line};
use crate::backend::{BackendError, Session as _, packages};
use crate::model::Workspace;

impl Docker {
    /// Asks the Python that the sessions will run in, in a container like theirs. The first is held at a gate if the
    /// sessions are to be: what does not work here would not work there.
    pub(super) async fn examine(&self) -> Result<Report, BackendError> {
        if let Some(program) = self.ahead.program()
            && let Ok(dir) = packages::cache().and_then(|cache| gate::try_dir(&cache))
        {
            let place = gate::Place {
                program,
                dir: dir.path().to_owned(),
            };
            match self.examine_in(Some(place)).await {
                Ok(report) => return Ok(report),
                // Without a gate it may work, or say better what does not.
                Err(error) => {
                    let report = self.examine_in(None).await?;
                    self.ahead.refuse(&error);
                    return Ok(report);
                }
            }
        }
        self.examine_in(None).await
    }

    async fn examine_in(&self, gate: Option<gate::Place>) -> Result<Report, BackendError> {
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
        instance
            .binds
            .extend(gate.as_ref().map(|gate| Bind::writable(&gate.dir, recipe::RUN_DIR)));
        instance.gate = gate;
        let mut session = Box::new(self.launch_container(&mut instance, &name).await?);
        session.open_gate(SystemTime::now()).await?;
        let mut output = Vec::new();
        while let Some(piece) = session.output().await? {
            output.extend_from_slice(&piece);
        }
        let ended = session.finish().await?;
        if let Some(report) = Report::parse(&output) {
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
        let Lacks { limits, init } = self.lacks();
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
        notes
    }
}
