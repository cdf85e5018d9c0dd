//! `--workspace fresh`: every session sees the same pristine tree, and what it writes there is discarded.
//!
//! The engine, not the caller, mounts an overlay: the sweep's directory below, an empty volume of the engine's own
//! above. So it works for anyone who may use the socket, and nothing of it belongs to root in the caller's
//! directories. Where the engine cannot mount one, the tree is copied into a volume.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType, MountVolumeOptions, VolumeCreateRequest};
use bollard::query_parameters::UploadToContainerOptionsBuilder;
use bytes::Bytes;
use tokio::sync::mpsc::Receiver;

use super::engine::Engine;
use crate::backend::BackendError;
use crate::run::{Kind, RunDir, tree};

/// How a pristine tree is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FreshMethod {
    /// An overlay over the directory, mounted by the engine.
    Overlay,
    /// A copy of the directory.
    Copy,
}

/// Where the volume is mounted in the container that fills it, which is never started.
const FILL: &str = "/fill";

/// A workspace to be made.
pub(super) struct Fresh<'a> {
    pub(super) engine: &'a Engine,
    pub(super) image: &'a str,
    /// The pristine tree.
    pub(super) directory: &'a Path,
    /// Directory that is left out of a copy: the sweeps' own.
    pub(super) without: &'a Path,
    /// Name of the session, from which the volumes' names follow.
    pub(super) name: &'a str,
    pub(super) labels: &'a HashMap<String, String>,
}

impl Fresh<'_> {
    /// Whether the engine may be able to mount an overlay over this directory: overlay options are separated by
    /// commas and colons, which a path can hold.
    pub(super) fn method(&self) -> FreshMethod {
        let path = self.directory.to_string_lossy();
        if path.contains([',', ':', '\\']) || !self.engine.is_here() {
            FreshMethod::Copy
        } else {
            FreshMethod::Overlay
        }
    }

    /// Makes the volumes; the first of them is the workspace.
    pub(super) async fn make(&self, method: FreshMethod) -> Result<Vec<String>, BackendError> {
        let store = format!("{}-written", self.name);
        let mountpoint = self.volume(&store, HashMap::new()).await?;
        let made = match method {
            FreshMethod::Overlay => self.overlay(&store, &mountpoint).await,
            FreshMethod::Copy => self.copy(&store).await.map(|()| vec![store.clone()]),
        };
        if made.is_err() {
            self.discard(&[store]).await;
        }
        made
    }

    /// Removes volumes that no session came to use.
    pub(super) async fn discard(&self, volumes: &[String]) {
        for volume in volumes {
            let _ = self
                .engine
                .docker
                .remove_volume(volume, None::<bollard::query_parameters::RemoveVolumeOptions>)
                .await;
        }
    }

    async fn overlay(&self, store: &str, mountpoint: &str) -> Result<Vec<String>, BackendError> {
        // The merged root gets owner and mode of the upper directory, so that must look like the tree's.
        let root = self.directory.metadata().map_err(|error| BackendError::Unfit {
            what: format!("failed to read `{}`: {error}", self.directory.display()),
            hint: None,
        })?;
        let mut archive = tar::Builder::new(Vec::new());
        for (name, mode, uid, gid) in [
            ("upper/", root.mode() & 0o7777, root.uid(), root.gid()),
            ("work/", 0o700, 0, 0),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            header.set_mode(mode);
            header.set_uid(uid.into());
            header.set_gid(gid.into());
            archive
                .append_data(&mut header, name, io::empty())
                .expect("writing to memory does not fail, and these names are short");
        }
        let archive = archive.into_inner().expect("writing to memory does not fail");
        self.fill(store, Archive::Whole(archive)).await?;
        let merged = format!("{}-workspace", self.name);
        let options = format!(
            "lowerdir={},upperdir={mountpoint}/upper,workdir={mountpoint}/work",
            self.directory.display()
        );
        let driver = [("type", "overlay"), ("device", "overlay"), ("o", options.as_str())];
        self.volume(
            &merged,
            driver.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        )
        .await?;
        Ok(vec![merged, store.to_owned()])
    }

    async fn copy(&self, store: &str) -> Result<(), BackendError> {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, io::Error>>(16);
        let (directory, without) = (self.directory.to_owned(), self.without.to_owned());
        tokio::task::spawn_blocking(move || {
            let sink = io::BufWriter::with_capacity(1 << 18, Sink(sender.clone()));
            let mut archive = tar::Builder::new(sink);
            archive.follow_symlinks(false);
            let written = RunDir::open(&directory)
                .and_then(|root| append(&mut archive, &root, |path| directory.join(path) != without))
                .and_then(|()| archive.into_inner())
                .and_then(|mut sink| io::Write::flush(&mut sink));
            if let Err(error) = written {
                let _ = sender.blocking_send(Err(error));
            }
        });
        self.fill(store, Archive::Stream(receiver)).await
    }

    async fn volume(&self, name: &str, options: HashMap<String, String>) -> Result<String, BackendError> {
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            driver: Some("local".to_owned()),
            driver_opts: Some(options),
            labels: Some(self.labels.clone()),
            ..VolumeCreateRequest::default()
        };
        let volume = self
            .engine
            .docker
            .create_volume(request)
            .await
            .map_err(|error| self.engine.explain("create a volume", &error))?;
        Ok(volume.mountpoint)
    }

    /// Unpacks an archive into a volume, through a container that is never started.
    async fn fill(&self, volume: &str, archive: Archive) -> Result<(), BackendError> {
        let body = ContainerCreateBody {
            image: Some(self.image.to_owned()),
            cmd: Some(vec!["true".to_owned()]),
            labels: Some(self.labels.clone()),
            host_config: Some(HostConfig {
                mounts: Some(vec![Mount {
                    typ: Some(MountType::VOLUME),
                    source: Some(volume.to_owned()),
                    target: Some(FILL.to_owned()),
                    volume_options: Some(MountVolumeOptions {
                        no_copy: Some(true),
                        ..MountVolumeOptions::default()
                    }),
                    ..Mount::default()
                }]),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let docker = &self.engine.docker;
        let created = docker
            .create_container(None, body)
            .await
            .map_err(|error| self.engine.explain("create a container", &error))?;
        let options = UploadToContainerOptionsBuilder::default().path(FILL).build();
        let archive = match archive {
            Archive::Whole(bytes) => bollard::body_full(bytes.into()),
            Archive::Stream(receiver) => {
                bollard::body_try_stream(futures_util::stream::unfold(receiver, |mut receiver| async move {
                    receiver.recv().await.map(|piece| (piece, receiver))
                }))
            }
        };
        let filled = docker.upload_to_container(&created.id, Some(options), archive).await;
        let _ = docker.remove_container(&created.id, None).await;
        filled.map_err(|error| self.engine.explain("fill the workspace", &error))
    }
}

/// What a volume is filled with.
enum Archive {
    Whole(Vec<u8>),
    Stream(Receiver<Result<Bytes, io::Error>>),
}

struct Sink(tokio::sync::mpsc::Sender<Result<Bytes, io::Error>>);

impl io::Write for Sink {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.0
            .blocking_send(Ok(Bytes::copy_from_slice(piece)))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Adds a tree to an archive, without what `is_wanted` says no to.
fn append(
    archive: &mut tar::Builder<impl io::Write>,
    root: &RunDir,
    is_wanted: impl Fn(&Path) -> bool,
) -> io::Result<()> {
    tree::walk(root, usize::MAX, |level| {
        level.entries.retain(|entry| is_wanted(&level.path.join(&entry.name)));
        for entry in &level.entries {
            let path = level.path.join(&entry.name);
            let found = level.stat(&entry.name)?;
            let mut header = tar::Header::new_gnu();
            header.set_mode(found.st_mode & 0o7777);
            header.set_uid(found.st_uid.into());
            header.set_gid(found.st_gid.into());
            header.set_mtime(u64::try_from(found.st_mtime).unwrap_or_default());
            header.set_size(0);
            match entry.kind {
                Kind::Dir => {
                    header.set_entry_type(tar::EntryType::Directory);
                    archive.append_data(&mut header, path, io::empty())?;
                }
                Kind::Link => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    archive.append_link(&mut header, path, level.link(&entry.name)?)?;
                }
                Kind::File => archive.append_file(path, &mut level.file(&entry.name)?)?,
                Kind::Other => {}
            }
        }
        Ok(())
    })
}
