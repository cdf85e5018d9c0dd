//! Something between the tool and the machine's engine that takes clients of some versions of the API only, as newer and
//! older engines do, and writes down what it was asked.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use reproduce_flaky::backend::docker::place;

/// A request: its method and path, and its body where that was sent whole.
pub(crate) type Asked = (String, Vec<u8>);

/// An engine of other versions, as far as a client can tell.
pub(crate) struct Proxy {
    dir: tempfile::TempDir,
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[derive(Clone)]
struct Versions {
    first: u32,
    last: u32,
    real: PathBuf,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Proxy {
    /// One that takes clients of API 1.`first` to 1.`last`.
    pub(crate) fn start(first: u32, last: u32) -> Proxy {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("engine.sock")).unwrap();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let address = place(None).unwrap().address;
        let versions = Versions {
            first,
            last,
            real: address
                .strip_prefix("unix://")
                .expect("an engine of this machine")
                .into(),
            asked: Arc::clone(&asked),
        };
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let versions = versions.clone();
                std::thread::spawn(move || {
                    // A client that goes away ends only its own connection.
                    let _ = versions.serve(client);
                });
            }
        });
        Proxy { dir, asked }
    }

    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.dir.path().join("engine.sock").display())
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Versions {
    fn serve(&self, mut client: UnixStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let length = head
            .to_lowercase()
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        client.read_exact(&mut body)?;
        let (method, rest) = head.split_once(' ').unwrap();
        let path = rest.split(' ').next().unwrap();
        self.asked
            .lock()
            .unwrap()
            .push((format!("{method} {path}"), body.clone()));
        let version = path
            .strip_prefix("/v1.")
            .and_then(|rest| rest.split_once('/'))
            .map(|(minor, _)| minor.to_owned());
        let plain = version.as_ref().map_or(path, |minor| &path[4 + minor.len()..]);
        let refusal = version.as_deref().map(|minor| minor.parse::<u32>().unwrap()).and_then(|minor| {
            let (first, last) = (self.first, self.last);
            if minor < first {
                Some(format!(
                    "client version 1.{minor} is too old. Minimum supported API version is 1.{first}, please upgrade your \
                     client to a newer version"
                ))
            } else {
                (minor > last).then(|| {
                    format!("client version 1.{minor} is too new. Maximum supported API version is 1.{last}")
                })
            }
        });
        let answer = |status: &str, body: &serde_json::Value| {
            let body = body.to_string();
            let length = body.len();
            format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        };
        if let Some(message) = refusal {
            return client.write_all(answer("400 Bad Request", &serde_json::json!({ "message": message })).as_bytes());
        }
        if plain == "/version" {
            let said = serde_json::json!({
                "Version": "29.0.0",
                "ApiVersion": format!("1.{}", self.last),
                "MinAPIVersion": format!("1.{}", self.first),
            });
            return client.write_all(answer("200 OK", &said).as_bytes());
        }
        let mut engine = UnixStream::connect(&self.real)?;
        engine.write_all(head.replacen(path, plain, 1).as_bytes())?;
        engine.write_all(&body)?;
        let (mut from, mut to) = (client.try_clone()?, engine.try_clone()?);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        let copied = std::io::copy(&mut engine, &mut client);
        let _ = client.shutdown(Shutdown::Both);
        copied.map(|_| ())
    }
}
