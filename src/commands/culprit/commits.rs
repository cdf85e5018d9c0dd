//! The commits of a range as candidates: a worktree for each that is visited, built once.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::Context as _;

use super::axis::Candidate;
use crate::commands::output;
use crate::commands::sweep::before;
use crate::message::{hinted, tell, usage};
use crate::run::{SearchDir, StoreError};
use crate::spec::Spec;

/// How often a build is looked for that another process is at.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Digits of a commit's name.
const DIGITS: usize = 12;

/// The commits of a range, the good end first.
#[derive(Clone, Debug)]
pub(super) struct Commits {
    /// The repository.
    top: PathBuf,
    /// The directory of the call, below the repository's.
    prefix: PathBuf,
    list: Vec<Commit>,
    dir: SearchDir,
}

#[derive(Clone, Debug)]
struct Commit {
    name: String,
    subject: String,
}

impl Commits {
    /// Reads a range such as `v1.2..main`.
    pub(super) fn read(
        range: &str,
        is_first_parent: bool,
        paths: &[String],
        here: &Path,
        dir: SearchDir,
    ) -> anyhow::Result<Commits> {
        let malformed = || {
            usage(
                format!("invalid range `{range}`"),
                Some("--commits GOOD..BAD: the last commit known to be good, two dots, a bad one"),
            )
        };
        let (good, bad) = range.split_once("..").ok_or_else(malformed)?;
        if good.is_empty() || bad.starts_with('.') || bad.contains("..") {
            return Err(malformed());
        }
        let bad = if bad.is_empty() { "HEAD" } else { bad };
        let place = git(here, &["rev-parse", "--show-toplevel"])?;
        let prefix = git(here, &["rev-parse", "--show-prefix"])?;
        let [good_id, bad_id] = [commit(here, good)?, commit(here, bad)?];
        if good_id == bad_id {
            return Err(usage(
                format!("no commit lies between `{good}` and `{bad}`: they are the same one"),
                None,
            ));
        }
        if !asked(here, &["merge-base", "--is-ancestor", &good_id, &bad_id])?
            .status
            .success()
        {
            let is_reversed = asked(here, &["merge-base", "--is-ancestor", &bad_id, &good_id])?
                .status
                .success();
            return Err(if is_reversed {
                usage(
                    format!("`{good}` comes after `{bad}`"),
                    Some(&format!("the good end stands first: --commits {bad}..{good}")),
                )
            } else {
                usage(
                    format!("`{good}` is no ancestor of `{bad}`: no line of commits leads from one to the other"),
                    Some(&format!(
                        "git merge-base {good} {bad} names the last commit that both have"
                    )),
                )
            });
        }
        let between = format!("{good_id}..{bad_id}");
        let mut words = vec!["log", "--reverse", "--topo-order", "--format=%H%x09%s"];
        if is_first_parent {
            words.push("--first-parent");
        }
        words.extend([between.as_str(), "--"]);
        words.extend(paths.iter().map(String::as_str));
        let mut list = vec![line(&git(here, &["log", "-1", "--format=%H%x09%s", &good_id])?)];
        list.extend(git(here, &words)?.lines().map(line));
        if list.len() == 1 {
            return Err(usage(
                format!("no commit of `{range}` touches {}", shell_words::join(paths)),
                Some("paths stand behind `--`, as for git log"),
            ));
        }
        let merges = git(here, &["rev-list", "--count", "--min-parents=2", &between])?;
        if !is_first_parent && merges.trim() != "0" {
            tell(format_args!(
                "note: the range has {} merges, and commits of merged branches stand in it one after another; \
                 --first-parent looks at the merges instead",
                merges.trim()
            ));
        }
        if !git(here, &["status", "--porcelain", "--untracked-files=no"])?
            .trim()
            .is_empty()
        {
            tell("note: changes here that are not committed are in none of the candidates");
        }
        Ok(Commits {
            top: PathBuf::from(place.trim_end_matches('\n')),
            prefix: PathBuf::from(prefix.trim_end_matches('\n')),
            list,
            dir,
        })
    }

    /// The directory that is tested of a commit.
    fn directory(&self, name: &str) -> PathBuf {
        self.dir.worktree(name).join(&self.prefix)
    }

    pub(super) fn candidates(&self, base: &Spec) -> Vec<Candidate> {
        let candidate = |commit: &Commit| Candidate {
            name: commit.name.clone(),
            title: Some(commit.subject.clone()),
            spec: Spec {
                directory: self.directory(&commit.name),
                ..base.clone()
            },
        };
        self.list.iter().map(candidate).collect()
    }

    /// What became of building a commit before.
    pub(super) fn built(&self, name: &str) -> Result<Option<Result<(), String>>, StoreError> {
        self.dir.built(name)
    }

    /// Makes the worktree of a commit, and builds there, unless that was done before, or is being done. The inner result says why the
    /// commit cannot be built.
    pub(super) async fn build(&self, name: &str, command: Option<&[String]>) -> anyhow::Result<Result<(), String>> {
        let _building = loop {
            match self.dir.lock_build(name)? {
                Some(lock) => break lock,
                None => tokio::time::sleep(LOOK_AGAIN).await,
            }
        };
        if let Some(built) = self.dir.built(name)?
            && (built.is_err() || self.dir.worktree(name).is_dir())
        {
            return Ok(built);
        }
        self.dir.clear(name)?;
        let worktree = self.dir.worktree(name);
        let mut git = self.git();
        git.args(["worktree", "add", "--detach", "--force", "--force"]);
        git.arg(&worktree).arg(name);
        let added = tokio::process::Command::from(git)
            .kill_on_drop(true)
            .output()
            .await
            .context("failed to run `git`")?;
        if !added.status.success() {
            return Err(hinted(
                format!("failed to make a worktree of `{name}`: {}", last_line(&added)),
                format!("git -C {} worktree list", output::quoted(&self.top)),
            ));
        }
        let built = self.run_before(name, command).await?;
        self.dir.set_built(name, &built)?;
        Ok(built)
    }

    async fn run_before(&self, name: &str, command: Option<&[String]>) -> Result<Result<(), String>, StoreError> {
        let directory = self.directory(name);
        if !directory.is_dir() {
            return Ok(Err(format!("it has no directory `{}`", self.prefix.display())));
        }
        let Some(command) = command else {
            return Ok(Ok(()));
        };
        let (log, path) = self.dir.new_log(name)?;
        let built = before::run_in(command, &directory, log).await;
        Ok(built.map_err(|cause| match self.dir.last_line(&path) {
            Some(line) => format!("does not build: {cause}: {line} ({})", path.display()),
            None => format!("does not build: {cause}"),
        }))
    }

    /// git in the repository, without hooks of the repository.
    fn git(&self) -> Command {
        let mut command = Command::new("git");
        command
            .args(["-c", "core.hooksPath=/dev/null"])
            .arg("-C")
            .arg(&self.top)
            .stdin(Stdio::null());
        command
    }
}

/// The commit that is checked out, by its first digits.
pub(super) fn checked_out(here: &Path) -> anyhow::Result<String> {
    let id = git(here, &["rev-parse", "--verify", "HEAD"])?;
    Ok(line(&id).name)
}

fn line(text: &str) -> Commit {
    let (id, subject) = text.trim_end().split_once('\t').unwrap_or((text.trim_end(), ""));
    Commit {
        name: id.chars().take(DIGITS).collect(),
        subject: subject.to_owned(),
    }
}

fn commit(here: &Path, revision: &str) -> anyhow::Result<String> {
    let spelled = format!("{revision}^{{commit}}");
    let found = asked(
        here,
        &["rev-parse", "--verify", "--quiet", "--end-of-options", &spelled],
    )?;
    if !found.status.success() {
        return Err(usage(
            format!("git knows no commit `{revision}` here"),
            Some("git fetch, or name a branch, a tag or a commit that is there"),
        ));
    }
    Ok(String::from_utf8_lossy(&found.stdout).trim().to_owned())
}

fn git(here: &Path, words: &[&str]) -> anyhow::Result<String> {
    let done = asked(here, words)?;
    if !done.status.success() {
        return Err(hinted(
            format!("failed to ask git for commits: {}", last_line(&done)),
            "commits are looked for in a directory of a git repository",
        ));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn asked(here: &Path, words: &[&str]) -> anyhow::Result<Output> {
    Command::new("git")
        .args(words)
        .current_dir(here)
        .stdin(Stdio::null())
        .output()
        .context("failed to run `git`")
}

fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    line.map_or_else(|| output.status.to_string(), |line| line.trim().to_owned())
}
