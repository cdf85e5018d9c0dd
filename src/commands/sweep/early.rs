//! The first container of a new sweep, made ready while another container is asked what the image has.

use std::sync::Arc;

use super::args::Args;
use crate::backend::{Backend, BackendError, Probe};
use crate::cli::settings::Settings;
use crate::run::Founded;
use crate::spec::{Spec, Workspace};
use crate::sweep::iteration::Early;

/// Founds a sweep whose first attempt can be made ready before the sweep is open: a new sweep, in which nothing but the
/// probe comes before the first iteration. A directory that cannot be made is told when the sweep is opened.
pub(super) fn found(args: &Args, settings: Option<&Settings>, spec: &Spec, backend: &dyn Backend) -> Option<Founded> {
    let has_before = settings.is_some_and(|settings| settings.before.is_some());
    let is_plain = !has_before && !args.private && spec.arm.is_none() && spec.container.workspace != Workspace::Fresh;
    if is_plain && backend.is_probed_beside() {
        Founded::new(&args.logs.dir, spec).ok().flatten()
    } else {
        None
    }
}

/// Probes, and makes the first attempt ready meanwhile.
pub(super) async fn probe(
    args: &Args,
    spec: &Spec,
    backend: &Arc<dyn Backend>,
    founded: Option<&Founded>,
) -> (Result<Probe, BackendError>, Early) {
    let first = async {
        match founded {
            Some(founded) => {
                let sweep = founded.sweep.clone().max_log(args.max_log);
                let made = Early::make(sweep, spec, &**backend, args.start).await;
                made.unwrap_or_default()
            }
            None => Early::default(),
        }
    };
    tokio::join!(backend.probe(), first)
}
