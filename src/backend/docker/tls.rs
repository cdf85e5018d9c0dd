//! TLS as `docker` speaks it to an engine: the engine's certificate is of the authority in `ca.pem`, the tool's own is
//! `cert.pem`. The engine's certificate is always checked.

use std::io;
use std::path::Path;
use std::sync::Arc;

use chrono::DateTime;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{
    AlertDescription as Alert, CertificateError as Bad, ClientConfig, Error, InconsistentKeys, RootCertStore,
};

use crate::backend::BackendError;

/// What a connection needs beside an address.
#[derive(Debug)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// To a host, perhaps with its port, by the certificates of a directory.
    pub(super) fn of(host: &str, dir: &Path) -> Result<Tls, BackendError> {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => name,
            _ => host,
        };
        let name = ServerName::try_from(name.trim_matches(['[', ']']).to_owned())
            .map_err(|_| unfit(format!("`{name}` is no name that a certificate can have")))?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&dir.join("ca.pem"))? {
            roots
                .add(certificate)
                .map_err(|error| unreadable(&dir.join("ca.pem"), &error))?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| unfit(error.to_string()))?
            .with_root_certificates(roots);
        let (own, key) = (dir.join("cert.pem"), dir.join("key.pem"));
        // An engine may ask for none.
        let config = if own.exists() || key.exists() {
            let certificates = certificates(&own)?;
            let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| not_read(&key, "private key", error))?;
            config.with_client_auth_cert(certificates, key).map_err(|error| {
                if error == Error::InconsistentKeys(InconsistentKeys::KeyMismatch) {
                    unfit(format!(
                        "`{}` is not the certificate of `key.pem` beside it",
                        own.display()
                    ))
                } else {
                    unreadable(&own, &error)
                }
            })?
        } else {
            config.with_no_client_auth()
        };
        let config = Arc::new(config);
        Ok(Tls { config, name })
    }

    pub(super) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(self.name.clone(), stream).await
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BackendError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = read.map_err(|error| not_read(path, "certificate", error))?;
    if found.is_empty() {
        return Err(not_read(path, "certificate", PemError::NoItemsFound));
    }
    Ok(found)
}

fn not_read(path: &Path, what: &str, error: PemError) -> BackendError {
    match error {
        PemError::NoItemsFound => unfit(format!("no {what} without a passphrase is in `{}`", path.display())),
        PemError::Io(error) => unreadable(path, &error),
        error => unreadable(path, &error),
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> BackendError {
    unfit(format!("failed to read `{}`: {error}", path.display()))
}

fn unfit(what: String) -> BackendError {
    BackendError::Unfit {
        what,
        hint: Some(
            "TLS takes ca.pem, cert.pem and key.pem, in the directory that DOCKER_CERT_PATH names or of docker's \
             context; ssh://HOST takes none"
                .to_owned(),
        ),
    }
}

/// Why there is no TLS with an engine, if an error of a connection is of TLS.
pub(super) fn refusal(address: &str, error: &(dyn std::error::Error + 'static)) -> Option<BackendError> {
    let cause = match of_tls(error)? {
        Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => {
            "its certificate is not of the authority in ca.pem".to_owned()
        }
        Error::InvalidCertificate(Bad::Expired) => "its certificate has expired".to_owned(),
        Error::InvalidCertificate(Bad::ExpiredContext { not_after, .. }) => {
            let end = i64::try_from(not_after.as_secs()).ok();
            let end = end.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
            let end = end.map_or_else(String::new, |end| end.format(" on %Y-%m-%d").to_string());
            format!("its certificate expired{end}")
        }
        Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "its certificate names other hosts than the address".to_owned()
        }
        Error::InvalidMessage(_) => "what answers there does not speak TLS".to_owned(),
        Error::AlertReceived(Alert::CertificateRequired) => "it asks for a certificate, cert.pem".to_owned(),
        Error::AlertReceived(Alert::CertificateExpired) => "it says that cert.pem has expired".to_owned(),
        Error::AlertReceived(Alert::UnknownCA) => "it does not know the authority of cert.pem".to_owned(),
        Error::AlertReceived(Alert::BadCertificate) => "it refuses cert.pem, or asks for it".to_owned(),
        other => other.to_string(),
    };
    Some(unfit(format!(
        "no TLS with the container engine at `{address}`: {cause}"
    )))
}

fn of_tls<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    let below = |error: &&'a (dyn std::error::Error + 'static)| match error.downcast_ref::<io::Error>() {
        // What it was made of is not what it calls its source.
        Some(error) => error.get_ref().map(|error| error as &(dyn std::error::Error + 'static)),
        None => error.source(),
    };
    std::iter::successors(Some(error), below).find_map(|error| error.downcast_ref())
}
