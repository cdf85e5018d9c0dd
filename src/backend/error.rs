//! Why a backend could not do its work, and what the user can do about it.

/// Why a backend could not do its work. Each variant is one the runner or a message treats in its own way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// No daemon answers.
    #[error("no container engine answers at `{socket}`: {cause}")]
    Unreachable {
        /// Where one was expected.
        socket: String,
        /// What happened instead.
        cause: String,
    },
    /// The socket is there, but not for this user.
    #[error("no permission to use the container engine at `{socket}`")]
    Forbidden {
        /// The socket.
        socket: String,
    },
    /// The image is not on this host.
    #[error("image `{image}` is not on this host")]
    ImageMissing {
        /// The image as named.
        image: String,
    },
    /// The command's program is not in the image.
    #[error("`{program}` is not in image `{image}`")]
    ProgramMissing {
        /// The program.
        program: String,
        /// The image.
        image: String,
    },
    /// Something the sessions need is not in the image, or not on this machine.
    #[error("{what}")]
    Unfit {
        /// What is missing where.
        what: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// No space is left for a container.
    #[error("no space left for a container: {cause}")]
    DiskFull {
        /// The engine's words.
        cause: String,
    },
    /// The container or the engine went away under the attempt.
    #[error("lost the session: {cause}")]
    Lost {
        /// What happened.
        cause: String,
    },
    /// The engine refused for another reason.
    #[error("failed to {verb}: {cause}")]
    Refused {
        /// What was asked of it.
        verb: String,
        /// The engine's words.
        cause: String,
    },
}

impl BackendError {
    /// What the user can do, where we know.
    pub fn hint(&self) -> Option<String> {
        match self {
            BackendError::Unreachable { .. } => {
                Some("start the Docker service, set DOCKER_HOST, or use --backend local".to_owned())
            }
            BackendError::Forbidden { .. } => Some(
                "add yourself to the group that owns the socket (usermod -aG docker $USER), or use --backend local"
                    .to_owned(),
            ),
            BackendError::ImageMissing { image } => Some(format!("docker pull {image}, or use --image host")),
            BackendError::ProgramMissing { .. } => {
                Some("use an image with Python 3 and pytest, or --image host".to_owned())
            }
            BackendError::Unfit { hint, .. } => hint.clone(),
            BackendError::DiskFull { .. } => {
                Some("free space where the engine keeps its data (docker info, docker system df)".to_owned())
            }
            BackendError::Lost { .. } | BackendError::Refused { .. } => None,
        }
    }
}
