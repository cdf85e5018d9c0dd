//! What the user gives in the words of `docker run`: limits, volumes and GPUs.

use std::path::{Path, PathBuf};

use bollard::models::DeviceRequest;

use crate::backend::BackendError;
use crate::spec::{Container, Recipe as Part};

const ULIMITS: [&str; 3] = ["memlock=-1", "stack=67108864", "nofile=65536"];

/// Whether devices are named as CDI does, which `docker run` takes with another flag: `nvidia.com/gpu=all`.
pub(super) fn is_cdi(gpus: &str) -> bool {
    gpus.split(',')
        .all(|name| name.split_once('=').is_some_and(|(kind, _)| kind.contains('/')))
}

/// `all`, a count, or `device=0,1`, as `docker run --gpus` takes them; or CDI's names, as `docker run --device` does.
pub(super) fn device_request(gpus: &str) -> DeviceRequest {
    let gpus = gpus.trim_matches('"');
    if is_cdi(gpus) {
        return DeviceRequest {
            driver: Some("cdi".to_owned()),
            device_ids: Some(gpus.split(',').map(str::to_owned).collect()),
            ..DeviceRequest::default()
        };
    }
    let devices = gpus.strip_prefix("device=");
    DeviceRequest {
        count: match devices {
            Some(_) => None,
            None => Some(gpus.strip_prefix("count=").unwrap_or(gpus).parse().unwrap_or(-1)),
        },
        device_ids: devices.map(|ids| ids.split(',').map(str::to_owned).collect()),
        capabilities: Some(vec![vec!["gpu".to_owned()]]),
        ..DeviceRequest::default()
    }
}

/// The limits in force: the recipe's, replaced and completed by those given as `NAME=SOFT[:HARD]`.
pub(in crate::backend::docker) fn ulimits(container: &Container) -> Result<Vec<(String, i64, i64)>, BackendError> {
    let mut limits: Vec<(String, i64, i64)> = Vec::new();
    let defaults: &[&str] = if container.has(Part::Ulimits) { &ULIMITS } else { &[] };
    for text in defaults
        .iter()
        .copied()
        .chain(container.ulimits.iter().map(String::as_str))
    {
        let limit = ulimit(text).ok_or_else(|| BackendError::Unfit {
            what: format!("`{text}` is not a limit"),
            hint: Some("write NAME=SOFT or NAME=SOFT:HARD, such as nofile=65536".to_owned()),
        })?;
        limits.retain(|(name, _, _)| *name != limit.0);
        limits.push(limit);
    }
    if container.cores && limits.iter().all(|(name, _, _)| name != "core") {
        limits.push(("core".to_owned(), -1, -1));
    }
    Ok(limits)
}

fn ulimit(text: &str) -> Option<(String, i64, i64)> {
    let (name, values) = text.split_once('=')?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    (!name.is_empty()).then_some(())?;
    Some((name.to_owned(), soft.parse().ok()?, hard.parse().ok()?))
}

/// A volume with its host path made absolute. A path that is not there is refused: the engine would make an empty
/// directory of it, and the tests would fail for a reason that nobody looks for. `is_here` says whether the
/// engine's paths are this machine's, so that they can be looked at.
pub(in crate::backend::docker) fn volume(text: &str, directory: &Path, is_here: bool) -> Result<String, BackendError> {
    let unfit = |what: String| BackendError::Unfit {
        what,
        hint: Some("write HOST:CONTAINER or HOST:CONTAINER:ro".to_owned()),
    };
    let (source, rest) = text
        .split_once(':')
        .filter(|(source, rest)| !source.is_empty() && rest.starts_with('/'))
        .ok_or_else(|| unfit(format!("`{text}` is not a volume")))?;
    // A name without a slash is a volume of the engine's.
    if !source.contains('/') && !source.starts_with('.') {
        return Ok(text.to_owned());
    }
    let path: PathBuf = directory.join(source).components().collect();
    if is_here && !path.exists() {
        return Err(unfit(format!(
            "there is no `{}` for the volume `{text}`",
            path.display()
        )));
    }
    Ok(format!("{}:{rest}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_limits_replace_the_recipes() {
        let container = Container {
            ulimits: vec!["nofile=10:20".to_owned()],
            ..Container::default()
        };
        let limits = ulimits(&container).unwrap();
        assert_eq!(limits.last(), Some(&("nofile".to_owned(), 10, 20)));
        assert_eq!(limits.len(), 3);
        assert!(
            ulimits(&Container {
                ulimits: vec!["nofile".to_owned()],
                ..container
            })
            .is_err()
        );
    }

    #[test]
    fn volumes_are_relative_to_the_sweeps_directory_and_must_exist() {
        let here = Path::new("/usr");
        assert_eq!(volume("./lib:/x:ro", here, true).unwrap(), "/usr/lib:/x:ro");
        assert_eq!(volume("cache:/x", here, true).unwrap(), "cache:/x");
        assert!(volume("./absent:/x", here, true).is_err());
        assert_eq!(volume("/absent:/x", here, false).unwrap(), "/absent:/x");
        for bad in ["/x", ":/x", "a:b", ""] {
            assert!(volume(bad, here, true).is_err(), "{bad}");
        }
    }

    #[test]
    fn gpus_are_asked_for_as_docker_run_does() {
        assert_eq!(device_request("all").count, Some(-1));
        assert_eq!(device_request("2").count, Some(2));
        let request = device_request("\"device=0,3\"");
        assert_eq!(
            (request.count, request.device_ids),
            (None, Some(vec!["0".to_owned(), "3".to_owned()]))
        );
        let request = device_request("nvidia.com/gpu=0,nvidia.com/gpu=1");
        assert_eq!((request.driver.as_deref(), request.capabilities), (Some("cdi"), None));
        assert_eq!(request.device_ids.unwrap(), ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]);
        assert!(!is_cdi("device=0,1") && !is_cdi("all"));
    }
}
