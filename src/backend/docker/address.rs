//! Where an engine is looked for: in the order in which `docker` looks, and then where engines listen by themselves.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::backend::BackendError;
use crate::backend::toolchain::hex;

/// Address used where nothing else is said.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// An engine's address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// As in `DOCKER_HOST`.
    pub address: String,
    /// Why this one was taken.
    pub why: String,
    /// The other usual places where something listens.
    pub others: Vec<String>,
    /// Directory of what TLS needs, where that is spoken.
    pub certificates: Option<PathBuf>,
}

/// Where an engine is looked for.
///
/// # Errors
/// Docker's context is named and is not there.
pub fn place(named: Option<&str>) -> Result<Place, BackendError> {
    find(named, &|name| {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    })
}

/// The address that is named; `DOCKER_HOST`; docker's context, `DOCKER_CONTEXT` or the current one; the first of the usual
/// places where something listens.
fn find(named: Option<&str>, variable: &dyn Fn(&str) -> Option<String>) -> Result<Place, BackendError> {
    let given = named
        .map(|host| (host.to_owned(), "--docker-host"))
        .or_else(|| Some((variable("DOCKER_HOST")?, "DOCKER_HOST")));
    if let Some((host, why)) = given {
        let address = if host.starts_with('/') {
            format!("unix://{host}")
        } else {
            host
        };
        let is_tls = variable("DOCKER_TLS_VERIFY").is_some();
        let certificates = variable("DOCKER_CERT_PATH").map(PathBuf::from);
        return Ok(Place {
            address,
            why: why.to_owned(),
            certificates: certificates.or_else(|| config(variable)).filter(|_| is_tls),
            ..Place::default()
        });
    }
    if let Some(place) = of_context(variable)? {
        return Ok(place);
    }
    let places = usual(variable);
    let mut listening = places.iter().filter(|(path, _)| listens(path));
    let shown = |(path, whose): &(PathBuf, &str)| format!("unix://{} ({whose})", path.display());
    let Some((path, whose)) = listening
        .next()
        .or_else(|| places.iter().find(|(path, _)| path.exists()))
    else {
        return Ok(Place {
            address: format!("unix://{DEFAULT_SOCKET}"),
            why: "nothing listens where engines do".to_owned(),
            ..Place::default()
        });
    };
    Ok(Place {
        address: format!("unix://{}", path.display()),
        why: format!("{whose}, the first of the usual places"),
        others: listening.map(shown).collect(),
        certificates: None,
    })
}

/// Where engines listen by themselves, and whose each place is.
fn usual(variable: &dyn Fn(&str) -> Option<String>) -> Vec<(PathBuf, &'static str)> {
    let home = variable("HOME").map(PathBuf::from);
    let own = PathBuf::from(format!("/run/user/{}", rustix::process::getuid().as_raw()));
    let runtime = Some(variable("XDG_RUNTIME_DIR").map_or(own, PathBuf::from));
    let colima = variable("COLIMA_HOME").map(PathBuf::from);
    let in_home = |path: &str| home.as_ref().map(|home| home.join(path));
    let in_runtime = |path: &str| runtime.as_ref().map(|dir| dir.join(path));
    [
        (Some(PathBuf::from(DEFAULT_SOCKET)), "Docker"),
        (in_runtime("docker.sock"), "Docker without root"),
        (in_home(".docker/run/docker.sock"), "Docker Desktop"),
        (in_home(".docker/desktop/docker.sock"), "Docker Desktop"),
        (in_home(".orbstack/run/docker.sock"), "OrbStack"),
        (colima.map(|dir| dir.join("default/docker.sock")), "colima"),
        (in_home(".colima/default/docker.sock"), "colima"),
        (in_home(".config/colima/default/docker.sock"), "colima"),
        (in_home(".rd/docker.sock"), "Rancher Desktop"),
        (in_runtime("podman/podman.sock"), "Podman without root"),
        (Some(PathBuf::from("/run/podman/podman.sock")), "Podman"),
    ]
    .into_iter()
    .filter_map(|(path, whose)| Some((path?, whose)))
    .collect()
}

/// Whether somebody listens, this user's to use or not.
fn listens(path: &Path) -> bool {
    match UnixStream::connect(path) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied && path.exists(),
    }
}

/// Directory of docker's own configuration.
fn config(variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let own = variable("DOCKER_CONFIG").map(PathBuf::from);
    own.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".docker")))
}

/// What docker's own configuration names, if it names a context other than the default one.
fn of_context(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Place>, BackendError> {
    let Some(config) = config(variable) else {
        return Ok(None);
    };
    let read = |path: PathBuf| -> Option<serde_json::Value> {
        serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
    };
    let current = || {
        let name = read(config.join("config.json"))?
            .get("currentContext")?
            .as_str()?
            .to_owned();
        Some((name, "docker's current context"))
    };
    let named = variable("DOCKER_CONTEXT").map(|name| (name, "DOCKER_CONTEXT"));
    let Some((name, why)) = named.or_else(current) else {
        return Ok(None);
    };
    if name.is_empty() || name == "default" {
        return Ok(None);
    }
    // Docker files a context under the digest of its name.
    let digest = hex(&Sha256::digest(name.as_bytes()));
    let meta = read(config.join("contexts/meta").join(&digest).join("meta.json")).unwrap_or_default();
    let endpoint = &meta["Endpoints"]["docker"];
    let unfit = |what: &str, hint: &str| BackendError::Unfit {
        what: format!("docker's context `{name}`, of {why}, {what}"),
        hint: Some(hint.to_owned()),
    };
    let Some(host) = endpoint["Host"].as_str() else {
        let what = format!("is not in `{}`", config.join("contexts").display());
        return Err(unfit(
            &what,
            "`docker context ls` lists them; --docker-host ADDRESS needs none",
        ));
    };
    if endpoint["SkipTLSVerify"] == true {
        return Err(unfit(
            "does not check who the engine is (SkipTLSVerify), and this tool always does",
            "`docker context update NAME --docker host=…,ca=…,cert=…,key=…` names the authority of its certificate",
        ));
    }
    let certificates = config.join("contexts/tls").join(&digest).join("docker");
    Ok(Some(Place {
        address: host.to_owned(),
        why: format!("{why} `{name}`"),
        others: Vec::new(),
        certificates: certificates.exists().then_some(certificates),
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A home with a context `desk`, which is the current one.
    fn home() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join(".docker");
        let meta = config.join("contexts/meta").join(hex(&Sha256::digest(b"desk")));
        std::fs::create_dir_all(&meta).unwrap();
        std::fs::write(config.join("config.json"), r#"{"currentContext":"desk"}"#).unwrap();
        let described = r#"{"Endpoints":{"docker":{"Host":"ssh://desk"}}}"#;
        std::fs::write(meta.join("meta.json"), described).unwrap();
        home
    }

    fn found(named: Option<&str>, home: &Path, more: &[(&str, &str)]) -> Result<Place, BackendError> {
        let mut variables: HashMap<&str, String> =
            more.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        variables.insert("HOME", home.display().to_string());
        variables
            .entry("XDG_RUNTIME_DIR")
            .or_insert_with(|| home.join("run").display().to_string());
        find(named, &|name| variables.get(name).cloned())
    }

    #[test]
    fn an_address_comes_before_a_context_as_for_docker_and_a_context_before_the_sockets() {
        let home = home();
        let of = |named: Option<&str>, more: &[(&str, &str)]| {
            let place = found(named, home.path(), more).unwrap();
            (place.address, place.why)
        };
        let both = [("DOCKER_HOST", "/x.sock"), ("DOCKER_CONTEXT", "gone")];
        let is = |address: &str, why: &str| (address.to_owned(), why.to_owned());
        assert_eq!(of(Some("tcp://a:1"), &both), is("tcp://a:1", "--docker-host"));
        assert_eq!(of(None, &both), is("unix:///x.sock", "DOCKER_HOST"));
        assert_eq!(
            of(None, &[("DOCKER_CONTEXT", "desk")]),
            is("ssh://desk", "DOCKER_CONTEXT `desk`")
        );
        assert_eq!(of(None, &[]), is("ssh://desk", "docker's current context `desk`"));
        assert!(of(None, &[("DOCKER_CONTEXT", "default")]).0.starts_with("unix:///"));
        let gone = found(None, home.path(), &[("DOCKER_CONTEXT", "gone")]).unwrap_err();
        assert!(
            gone.to_string()
                .starts_with("docker's context `gone`, of DOCKER_CONTEXT, is not in `"),
            "{gone}"
        );
    }

    #[test]
    fn certificates_of_variables_are_for_addresses_and_those_of_a_context_for_it() {
        let home = home();
        let of = |more: &[(&str, &str)]| found(None, home.path(), more).unwrap().certificates;
        let (host, verify) = (("DOCKER_HOST", "tcp://a:1"), ("DOCKER_TLS_VERIFY", "1"));
        let path = ("DOCKER_CERT_PATH", "/certificates");
        assert_eq!(of(&[host, path]), None);
        assert_eq!(of(&[host, verify, path]), Some("/certificates".into()));
        assert_eq!(of(&[host, verify]), Some(home.path().join(".docker")));
        assert_eq!(of(&[verify, path]), None);
        let context = hex(&Sha256::digest(b"desk"));
        let own = home.path().join(".docker/contexts/tls").join(&context).join("docker");
        std::fs::create_dir_all(&own).unwrap();
        assert_eq!(of(&[verify, path]), Some(own));
        let described = r#"{"Endpoints":{"docker":{"Host":"tcp://a:1","SkipTLSVerify":true}}}"#;
        let meta = home
            .path()
            .join(".docker/contexts/meta")
            .join(&context)
            .join("meta.json");
        std::fs::write(meta, described).unwrap();
        let refused = found(None, home.path(), &[]).unwrap_err().to_string();
        assert!(refused.contains("does not check who the engine is"), "{refused}");
    }

    #[test]
    fn of_the_usual_places_one_where_nobody_listens_is_passed_over() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for dir in [".docker/desktop", ".orbstack/run", ".colima/default", "run/podman"] {
            std::fs::create_dir_all(at(dir)).unwrap();
        }
        // What an engine left that has ended.
        drop(UnixListener::bind(at(".docker/desktop/docker.sock")).unwrap());
        let listen = |name: &str| UnixListener::bind(at(name)).unwrap();
        let _listeners = [
            ".orbstack/run/docker.sock",
            ".colima/default/docker.sock",
            "run/podman/podman.sock",
        ]
        .map(listen);
        let variables = |name: &str| match name {
            "HOME" => Some(home.path().display().to_string()),
            "XDG_RUNTIME_DIR" => Some(at("run").display().to_string()),
            _ => None,
        };
        let own: Vec<(&str, bool)> = usual(&variables)
            .iter()
            .filter(|(path, _)| path.starts_with(home.path()))
            .map(|(path, whose)| (*whose, listens(path)))
            .collect();
        assert_eq!(
            own,
            [
                ("Docker without root", false),
                ("Docker Desktop", false),
                ("Docker Desktop", false),
                ("OrbStack", true),
                ("colima", true),
                ("colima", false),
                ("Rancher Desktop", false),
                ("Podman without root", true)
            ]
        );
    }
}
