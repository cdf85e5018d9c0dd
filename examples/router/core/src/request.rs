//! How requests travel: a TCP connection to the worker, or a request over the broker.

use std::time::Duration;

use async_nats::Client;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::discovery::Instance;
use crate::{Error, Result, failed};

/// The way requests take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestPlane {
    /// One connection a request.
    Tcp,
    /// Request and reply over the broker.
    Nats,
}

/// What a worker is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The prompt.
    pub tokens: Vec<u32>,
    /// Tokens to make.
    pub max_tokens: u32,
    /// Rank that shall make them.
    pub dp_rank: u32,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// Who made the tokens.
    pub worker_id: u64,
    /// Which of its ranks.
    pub dp_rank: u32,
    /// How many were made.
    pub n_tokens: u32,
}

/// The subject of a worker's requests.
pub fn request_subject(namespace: &str, worker_id: u64) -> String {
    format!("kv.{namespace}.generate.{worker_id}")
}

/// Longest time an answer may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Sends a request and waits for the answer.
pub async fn send(
    plane: RequestPlane,
    client: Option<&Client>,
    namespace: &str,
    instance: &Instance,
    request: &Request,
) -> Result<Response> {
    let failed = failed("send a request");
    let text = serde_json::to_vec(request).map_err(|cause| failed(&cause))?;
    let answer = async {
        match plane {
            RequestPlane::Tcp => {
                let mut stream = TcpStream::connect(&instance.address)
                    .await
                    .map_err(|cause| failed(&cause))?;
                let line = [text.as_slice(), b"\n"].concat();
                stream.write_all(&line).await.map_err(|cause| failed(&cause))?;
                let mut answer = Vec::new();
                BufReader::new(stream)
                    .read_until(b'\n', &mut answer)
                    .await
                    .map_err(|cause| failed(&cause))?;
                Ok(answer)
            }
            RequestPlane::Nats => {
                let client = client.ok_or_else(|| Error("this request plane needs a broker".into()))?;
                let subject = request_subject(namespace, instance.worker_id);
                let answer = client
                    .request(subject, text.into())
                    .await
                    .map_err(|cause| failed(&cause))?;
                Ok(answer.payload.to_vec())
            }
        }
    };
    let answer = tokio::time::timeout(DEADLINE, answer)
        .await
        .map_err(|cause| failed(&cause))??;
    serde_json::from_slice(&answer).map_err(|cause| failed(&cause))
}
