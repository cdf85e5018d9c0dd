//! Images of an engine: found by name or id, loaded from an archive, made over this machine's own root.

use std::path::Path;

use bollard::models::ImageConfig;
use bollard::query_parameters::{CreateImageOptionsBuilder, ImportImageOptionsBuilder};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::io::AsyncReadExt;

use super::HOST_REPOSITORY;
use super::engine::{Engine, is_not_found};
use crate::backend::BackendError;
use crate::backend::host::HostRoot;

/// A piece of an archive on its way to the engine.
const PIECE: usize = 1 << 20;

/// The image, loaded from the archive where the engine does not have it.
pub(super) async fn find_or_load(
    engine: &Engine,
    name: &str,
    archive: Option<&Path>,
) -> Result<(String, ImageConfig), BackendError> {
    let found = find_image(engine, name).await;
    let (Err(BackendError::ImageMissing { .. }), Some(archive)) = (&found, archive) else {
        return found;
    };
    load(engine, archive).await?;
    find_image(engine, name).await
}

/// Hands an archive, such as `docker save` writes, to the engine.
async fn load(engine: &Engine, archive: &Path) -> Result<(), BackendError> {
    let failed = |cause: String| BackendError::Refused {
        verb: format!("load `{}`", archive.display()),
        cause,
    };
    let file = tokio::fs::File::open(archive)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let pieces = stream::try_unfold(file, |mut file| async move {
        let mut piece = vec![0; PIECE];
        let read = file.read(&mut piece).await?;
        piece.truncate(read);
        Ok::<_, std::io::Error>((read > 0).then(|| (Bytes::from(piece), file)))
    });
    let options = ImportImageOptionsBuilder::default().quiet(true).build();
    let mut answers = engine
        .docker
        .import_image(options, bollard::body_try_stream(pieces), None)
        .boxed();
    while let Some(answer) = answers.next().await {
        answer.map_err(|error| match engine.explain("load", &error) {
            BackendError::Refused { cause, .. } => failed(cause),
            other => other,
        })?;
    }
    Ok(())
}

/// Fetches an image from its registry.
pub(super) async fn pull(engine: &Engine, name: &str) -> Result<(), BackendError> {
    let last = name.rsplit('/').next().unwrap_or(name);
    // Without a tag the engine would fetch all that there are.
    let from = if last.contains([':', '@']) {
        name.to_owned()
    } else {
        format!("{name}:latest")
    };
    let options = CreateImageOptionsBuilder::default().from_image(&from).build();
    let mut answers = engine.docker.create_image(Some(options), None, None);
    while let Some(answer) = answers.next().await {
        answer.map_err(|error| engine.explain("pull the image", &error))?;
    }
    Ok(())
}

pub(super) async fn find_image(engine: &Engine, name: &str) -> Result<(String, ImageConfig), BackendError> {
    let missing = || BackendError::ImageMissing { image: name.to_owned() };
    let found = engine.docker.inspect_image(name).await.map_err(|error| {
        if is_not_found(&error) {
            missing()
        } else {
            engine.explain("look for the image", &error)
        }
    })?;
    Ok((found.id.ok_or_else(missing)?, found.config.unwrap_or_default()))
}

/// Imports the empty root unless the engine has it already, and returns the image to start.
pub(super) async fn import(engine: &Engine, root: &HostRoot) -> Result<String, BackendError> {
    let name = format!("{HOST_REPOSITORY}:{}", root.tag());
    if let Ok((id, _)) = find_image(engine, &name).await {
        return Ok(id);
    }
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        // Podman knows no tag beside the repository.
        .repo(&name)
        .build();
    let archive = bollard::body_full(root.archive().into());
    let mut answers = engine.docker.create_image(Some(options), Some(archive), None);
    let mut id = None;
    while let Some(answer) = answers.next().await {
        let answer = answer.map_err(|error| engine.explain("import the empty root", &error))?;
        id = answer.status.or(id);
    }
    match find_image(engine, &name).await {
        Ok((id, _)) => Ok(id),
        Err(error) => id.ok_or(error),
    }
}
