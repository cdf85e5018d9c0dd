//! The user of a container, the user's home, and the Hugging Face cache that is shown there.

use std::path::PathBuf;

use super::{Image, Plan, caller};
use crate::backend::environment::{self, Environment};
use crate::backend::host::Bind;
use crate::spec::Recipe as Part;

impl Plan {
    /// A mount of the caller's Hugging Face cache, if there is one, where the session's programs look for a cache; and the
    /// value of `HF_HOME` where they need to be told.
    pub(super) fn hf_cache(&self, environment: &Environment) -> Option<(Bind, Option<String>)> {
        let source = self.callers_hf_cache()?;
        match &self.image {
            Image::Host { .. } => {
                let target = environment
                    .get("HF_HOME")
                    .unwrap_or("/reproduce-flaky/huggingface")
                    .to_owned();
                Some((Bind::read_only(&source, &target), Some(target)))
            }
            Image::Named { config, .. } => {
                let own = config.env.as_deref().unwrap_or_default();
                let target = match environment.get("HF_HOME").or_else(|| environment::find(own, "HF_HOME")) {
                    Some(dir) => dir.to_owned(),
                    None => format!("{}/.cache/huggingface", self.home()?.display()),
                };
                Some((Bind::read_only(&source, &target), None))
            }
        }
    }

    fn callers_hf_cache(&self) -> Option<PathBuf> {
        if !self.spec.container.has(Part::HfCache) || !self.is_here {
            return None;
        }
        caller("HF_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(caller("HOME")?).join(".cache/huggingface")))
            .filter(|dir| dir.is_absolute() && dir.is_dir())
    }

    /// Whether the containers' mounts depend on a home that only a container tells.
    pub(in crate::backend::docker) fn depends_on_home(&self) -> bool {
        matches!(self.image, Image::Named { .. }) && self.home.get().is_none() && self.callers_hf_cache().is_some()
    }

    /// Home of the container's user: as a container told, else `/root` for root.
    fn home(&self) -> Option<PathBuf> {
        match self.home.get() {
            Some(home) => home.is_absolute().then(|| home.clone()),
            None => (self.uid() == Some(0)).then(|| PathBuf::from("/root")),
        }
    }

    /// Id of the container's user; `None` for a name that only the image knows.
    pub(in crate::backend::docker) fn uid(&self) -> Option<u32> {
        let user = match &self.image {
            Image::Host { .. } => self.recipe.user.as_deref(),
            Image::Named { config, .. } => self.recipe.user.as_deref().or(config.user.as_deref()),
        };
        match user.and_then(|user| user.split(':').next()) {
            None | Some("" | "root") => Some(0),
            Some(user) => user.parse().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ImageConfig;

    use super::*;
    use crate::backend::tests::spec;
    use crate::spec::Spec;

    #[test]
    fn the_user_of_a_container_is_the_flags_then_the_images_then_root() {
        let config = ImageConfig {
            user: Some("1000:1000".to_owned()),
            ..ImageConfig::default()
        };
        let mut spec = spec("app");
        let uid = |spec: &Spec, config: &ImageConfig| Plan::named(spec, None, true, "x", config.clone()).unwrap().uid();
        assert_eq!(uid(&spec, &ImageConfig::default()), Some(0));
        assert_eq!(uid(&spec, &config), Some(1000));
        spec.container.user = Some("app".to_owned());
        assert_eq!(uid(&spec, &config), None);
    }
}
