//! An engine that is reached by TLS, as `docker` reaches it: through variables and through a context.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use sha2::{Digest, Sha256};

use crate::cli::{Place, Ran};
use crate::engine::own::Engine;

const ADDRESS: &str = "tcp://127.0.0.1:2376";

/// Who signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Authority { issuer, pem }
    }

    /// What `docker` reads in such a directory: this authority, and a certificate that it signed, for a name, until a year.
    fn write(&self, dir: &Path, name: &str, end: i32) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(end, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("ca.pem"), &self.pem).unwrap();
        fs::write(dir.join("cert.pem"), certificate.pem()).unwrap();
        fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
    }
}

/// An engine that speaks TLS with clients whose certificates are of its authority, and a place to run the tool in.
struct Guarded {
    engine: Engine,
    authority: Authority,
    place: Place,
}

impl Guarded {
    fn start() -> Option<Guarded> {
        let authority = Authority::new();
        let engine = Engine::start_with(|dir| {
            authority.write(&dir.join("tls"), "127.0.0.1", 2100);
            let file = |flag: &str, name: &str| format!("--{flag}={}", dir.join("tls").join(name).display());
            vec![
                "--tlsverify".to_owned(),
                file("tlscacert", "ca.pem"),
                file("tlscert", "cert.pem"),
                file("tlskey", "key.pem"),
                format!("--host={ADDRESS}"),
            ]
        })?;
        let place = Place::new(&[("test_one.py", "import time\n\ndef test_one(): time.sleep(1000)\n")]);
        let guarded = Guarded {
            engine,
            authority,
            place,
        };
        guarded.authority.write(&guarded.path("own"), "caller", 2100);
        Some(guarded)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path(name)
    }

    fn run(&self, words: &[&str], variables: &[(&str, &Path)]) -> Ran {
        let mut command = self.place.command(words);
        command.envs(variables.iter().copied());
        Ran::of(self.engine.inside(&command).output().unwrap())
    }

    /// What `doctor` says of the engine with certificates of a directory.
    fn found(&self, certificates: &str) -> String {
        let dir = self.path(certificates);
        let variables = [
            ("DOCKER_HOST", Path::new(ADDRESS)),
            ("DOCKER_TLS_VERIFY", Path::new("1")),
            ("DOCKER_CERT_PATH", &dir),
        ];
        self.run(&["doctor"], &variables).out()
    }
}

#[test]
fn a_hang_is_looked_into_over_tls_by_variables_and_through_a_context() {
    let Some(guarded) = Guarded::start() else { return };
    let sweep = [
        "-i",
        "host",
        "-e",
        "1",
        "--network",
        "none",
        "--timeout",
        "10s",
        "--progress",
        "none",
    ];
    let own = guarded.path("own");
    let variables = [
        ("DOCKER_HOST", Path::new(ADDRESS)),
        ("DOCKER_TLS_VERIFY", Path::new("1")),
        ("DOCKER_CERT_PATH", &own),
    ];
    guarded.run(&sweep, &variables).exits(3);
    let stacks = fs::read_dir(guarded.path("logs/serial/run001/autopsy")).unwrap();
    let stacks: String = stacks
        .map(|file| String::from_utf8_lossy(&fs::read(file.unwrap().path()).unwrap()).into_owned())
        .collect();
    assert!(stacks.contains("most recent call first"), "{stacks}");

    let config = guarded.path("config");
    // Docker files a context under the digest of its name, `desk`.
    let digest = format!("{:x}", Sha256::digest(b"desk"));
    let meta = config.join("contexts/meta").join(&digest);
    fs::create_dir_all(&meta).unwrap();
    let described =
        format!(r#"{{"Name":"desk","Endpoints":{{"docker":{{"Host":"{ADDRESS}","SkipTLSVerify":false}}}}}}"#);
    fs::write(meta.join("meta.json"), described).unwrap();
    guarded.authority.write(
        &config.join("contexts/tls").join(&digest).join("docker"),
        "caller",
        2100,
    );
    let context = [("DOCKER_CONTEXT", Path::new("desk")), ("DOCKER_CONFIG", &config)];
    guarded
        .run(&[&sweep[..], &["--tag", "context"]].concat(), &context)
        .exits(3);
    let doctor = guarded.run(&["doctor"], &context).out();
    assert!(
        doctor.contains(&format!("at {ADDRESS}: DOCKER_CONTEXT `desk`")),
        "{doctor}"
    );
}

#[test]
fn what_keeps_tls_from_an_engine_is_named() {
    let Some(mut guarded) = Guarded::start() else { return };
    let says = |guarded: &Guarded, certificates: &str, cause: &str| {
        let said = guarded.found(certificates);
        assert!(said.contains(cause), "{certificates}: {said}");
    };
    let refused = format!("no TLS with the container engine at `{ADDRESS}`: ");
    let stranger = Authority::new();
    stranger.write(&guarded.path("stranger"), "caller", 2100);
    says(
        &guarded,
        "stranger",
        &(refused.clone() + "its certificate is not of the authority in ca.pem"),
    );
    // The right authority for the engine, a wrong one for the caller.
    fs::write(guarded.path("stranger/ca.pem"), &guarded.authority.pem).unwrap();
    says(&guarded, "stranger", &(refused.clone() + "it "));
    guarded.authority.write(&guarded.path("old"), "caller", 2020);
    says(&guarded, "old", &(refused.clone() + "it "));
    let none = guarded.path("none");
    fs::create_dir(&none).unwrap();
    says(
        &guarded,
        "none",
        &format!("failed to read `{}`", none.join("ca.pem").display()),
    );
    fs::copy(guarded.path("own/ca.pem"), none.join("ca.pem")).unwrap();
    says(&guarded, "none", &(refused.clone() + "it "));
    fs::copy(guarded.path("own/cert.pem"), none.join("cert.pem")).unwrap();
    says(
        &guarded,
        "none",
        &format!("failed to read `{}`", none.join("key.pem").display()),
    );
    fs::copy(guarded.path("old/key.pem"), none.join("key.pem")).unwrap();
    let other = format!(
        "`{}` is not the certificate of `key.pem`",
        none.join("cert.pem").display()
    );
    says(&guarded, "none", &other);
    let plain = guarded.run(&["doctor"], &[("DOCKER_HOST", Path::new(ADDRESS))]).out();
    assert!(
        plain.contains(&format!("the container engine at `{ADDRESS}` speaks TLS")),
        "{plain}"
    );

    for (name, end, cause) in [
        ("127.0.0.1", 2020, "its certificate expired on 2020-01-01"),
        ("elsewhere", 2100, "its certificate names other hosts than the address"),
    ] {
        guarded.engine.down();
        guarded.authority.write(&guarded.engine.file("tls"), name, end);
        assert!(guarded.engine.up());
        says(&guarded, "own", &(refused.clone() + cause));
    }
}
