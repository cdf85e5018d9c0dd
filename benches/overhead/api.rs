//! The engine's API and nothing else: what any tool pays that starts a container when it is its turn.

use std::process::Command;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptions, InspectContainerOptions, RemoveContainerOptionsBuilder,
    StartContainerOptions, WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;

use super::competitors::Work;
use super::container::PYTEST;

pub(crate) fn run(work: &Work) -> Duration {
    let body = body(work);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let docker = Docker::connect_with_local_defaults()
            .unwrap()
            .negotiate_version()
            .await
            .unwrap();
        let began = Instant::now();
        let loops = (0..work.jobs).map(|_| {
            let (docker, body) = (docker.clone(), body.clone());
            let share = work.iterations / work.jobs;
            tokio::spawn(async move {
                for _ in 0..share {
                    iteration(&docker, body.clone()).await;
                }
            })
        });
        for ended in futures_util::future::join_all(loops).await {
            ended.unwrap();
        }
        began.elapsed()
    })
}

async fn iteration(docker: &Docker, body: ContainerCreateBody) {
    let created = docker
        .create_container(None::<CreateContainerOptions>, body)
        .await
        .unwrap();
    let wait = WaitContainerOptionsBuilder::default().condition("next-exit").build();
    let (waiting, id) = (docker.clone(), created.id.clone());
    let ended = tokio::spawn(async move { waiting.wait_container(&id, Some(wait)).next().await });
    let attach = AttachContainerOptionsBuilder::default()
        .stream(true)
        .stdout(true)
        .stderr(true)
        .build();
    let mut output = docker.attach_container(&created.id, Some(attach)).await.unwrap().output;
    docker
        .start_container(&created.id, None::<StartContainerOptions>)
        .await
        .unwrap();
    while let Some(piece) = output.next().await {
        piece.unwrap();
    }
    ended.await.unwrap();
    let found = docker
        .inspect_container(&created.id, None::<InspectContainerOptions>)
        .await
        .unwrap();
    assert_eq!(found.state.unwrap().exit_code, Some(0));
    let remove = RemoveContainerOptionsBuilder::default().force(true).build();
    docker.remove_container(&created.id, Some(remove)).await.unwrap();
}

/// The engine's own account of the container that the others run.
fn body(work: &Work) -> ContainerCreateBody {
    let docker = |words: &[&str]| {
        let output = Command::new("docker").args(words).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let container = work.container;
    let mut words = vec!["create", "--log-driver", "none"];
    words.extend(container.flags.iter().map(String::as_str));
    words.extend([
        "--entrypoint",
        &container.python,
        &container.image,
        "-m",
        "pytest",
        "test_bench.py",
    ]);
    words.extend(PYTEST);
    let id = docker(&words);
    let text = docker(&["inspect", &id]);
    docker(&["rm", &id]);
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut body = found[0]["Config"].clone();
    body["HostConfig"] = found[0]["HostConfig"].clone();
    for own in ["Hostname", "Domainname"] {
        body.as_object_mut().unwrap().remove(own);
    }
    serde_json::from_value(body).unwrap()
}
