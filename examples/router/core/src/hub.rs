//! The model hub: where a router learns what it serves.

use std::time::Duration;

use serde::Deserialize;

use crate::{Error, Result};

/// What the hub says about a model.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ModelCard {
    /// Its name.
    pub id: String,
    /// Its revision.
    pub sha: String,
}

/// Longest time the hub may take.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// Asks the hub at `endpoint` for a model.
pub async fn fetch_model(endpoint: &str, name: &str) -> Result<ModelCard> {
    let url = format!("{endpoint}/api/models/{name}/revision/main");
    let ask = async {
        let client = reqwest::Client::builder().timeout(DEADLINE).no_proxy().build()?;
        client.get(&url).send().await?.error_for_status()?.bytes().await
    };
    let failed =
        |cause: &dyn std::fmt::Display| Error(format!("Failed to fetch model '{name}' from HuggingFace: {cause}"));
    let body = ask.await.map_err(|cause| failed(&cause))?;
    serde_json::from_slice(&body).map_err(|cause| failed(&cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn answer_of_hub(answer: &'static str) -> Result<ModelCard> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        fetch_model(&endpoint, "Qwen/Qwen3-0.6B").await
    }

    #[tokio::test]
    async fn a_model_is_described_by_the_hub() {
        let card =
            answer_of_hub("HTTP/1.1 200 OK\r\ncontent-length: 26\r\n\r\n{\"id\":\"model\",\"sha\":\"main\"}\r\n").await;
        assert!(card.is_err(), "a cut body is an error");
        let card =
            answer_of_hub("HTTP/1.1 200 OK\r\ncontent-length: 27\r\n\r\n{\"id\":\"model\",\"sha\":\"main\"}").await;
        assert_eq!(card.unwrap().id, "model");
    }

    #[tokio::test]
    async fn a_busy_hub_and_one_that_hangs_up_are_told_apart() {
        let busy = answer_of_hub("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap_err();
        assert!(
            busy.0
                .starts_with("Failed to fetch model 'Qwen/Qwen3-0.6B' from HuggingFace: HTTP status client error (429"),
            "{busy}"
        );
        let gone = answer_of_hub("").await.unwrap_err();
        assert!(
            gone.0.contains("error sending request for url (http://127.0.0.1:"),
            "{gone}"
        );
    }
}
