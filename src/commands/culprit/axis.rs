//! The candidates of a search, in order: images, values of a variable, whatever flags tell apart, commits.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::FromArgMatches as _;

use super::Args;
use super::commits::Commits;
use crate::cli::settings::Settings;
use crate::commands::sweep::args::{self, Args as SweepArgs};
use crate::commands::sweep::inherit::{GivenFlags, inherit};
use crate::commands::sweep::specification;
use crate::message::usage;
use crate::run;
use crate::spec::{BackendKind, EnvVar, HOST_IMAGE, Spec, values};

/// Flags that all candidates share, by the names of their values.
const SHARED: [(&str, &str); 10] = [
    ("start", "--start"),
    ("end", "--end"),
    ("jobs", "--jobs"),
    ("tag", "--tag"),
    ("noise", "--noise"),
    ("condition_of", "--condition-of"),
    ("arm", "--arm"),
    ("retry", "--retry"),
    ("engine", "--engine"),
    ("logs_dir", "--logs-dir"),
];

#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) name: String,
    /// What it is, such as the subject of a commit.
    pub(super) title: Option<String>,
    pub(super) spec: Spec,
}

/// The candidates that the arguments name.
pub(super) fn candidates(
    args: &Args,
    settings: Option<&Settings>,
    base: &Spec,
    commits: Option<&Commits>,
) -> anyhow::Result<Vec<Candidate>> {
    let mut found = if let Some(commits) = commits {
        commits.candidates(base)
    } else if !args.images.is_empty() {
        images(args, base)?
    } else if let Some(text) = &args.values {
        of_values(text, base)?
    } else {
        of_flags(args, settings, base)?
    };
    if let [only] = found.as_slice() {
        return Err(usage(
            format!("there is only one candidate, `{}`", only.name),
            Some("name at least a good one and a bad one, in order"),
        ));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = found.iter().find(|candidate| !seen.insert(candidate.name.clone())) {
        return Err(usage(
            format!("two candidates are called `{}`", twice.name),
            Some("each stands once, at its place in the order"),
        ));
    }
    let mut tags = BTreeSet::new();
    for candidate in &mut found {
        let tag = tag(&candidate.name);
        let numbered = |number: u32| {
            if number < 2 {
                tag.clone()
            } else {
                format!("{tag}-{number}")
            }
        };
        // As many numbers as there are candidates are enough.
        let free = (1..=u32::MAX)
            .map(numbered)
            .find(|tag| !tags.contains(&tag.to_lowercase()));
        candidate.spec.tag = free;
        tags.extend(candidate.spec.tag.as_ref().map(|tag| tag.to_lowercase()));
    }
    Ok(found)
}

/// Refuses none, and more than one, of the ways to name candidates.
pub(super) fn only_one_axis(args: &Args) -> anyhow::Result<()> {
    let ways = [
        ("--images", !args.images.is_empty()),
        ("--commits", args.commits.is_some()),
        ("--candidate", !args.candidate.is_empty() || args.candidates.is_some()),
        ("--values", args.values.is_some()),
    ];
    let given: Vec<&str> = ways
        .iter()
        .filter(|(_, is_given)| *is_given)
        .map(|(way, _)| *way)
        .collect();
    match given.as_slice() {
        [_] => Ok(()),
        [] => Err(usage(
            "nothing says among which candidates to search",
            Some("--images A B C, --commits GOOD..BAD, --values NAME=A,B, or --candidate 'NAME FLAGS…' for each"),
        )),
        more => Err(usage(
            format!("{} name candidates each, and a search has one axis", more.join(" and ")),
            Some("--candidate 'NAME FLAGS…' can tell candidates apart by several flags"),
        )),
    }
}

/// A name as part of a directory's name.
fn tag(name: &str) -> String {
    let fits = |c: char| {
        if c.is_alphanumeric() || "-_.+@".contains(c) {
            c
        } else {
            '-'
        }
    };
    let tag: String = name.chars().map(fits).take(60).collect();
    let tag = tag.trim_start_matches('.');
    match values::tag(tag) {
        Ok(tag) => tag,
        Err(_) => "candidate".to_owned(),
    }
}

fn images(args: &Args, base: &Spec) -> anyhow::Result<Vec<Candidate>> {
    if args.sweep.given.has(&["image"]) {
        return Err(usage(
            "-i has no place beside --images: each candidate has its own",
            None,
        ));
    }
    if args.sweep.given.has(&["backend"]) && base.backend == BackendKind::Local {
        return Err(usage(
            "--images needs containers: processes of this machine have no image",
            Some("leave --backend local out"),
        ));
    }
    let candidate = |image: &String| Candidate {
        name: image.clone(),
        title: None,
        spec: Spec {
            image: image.clone(),
            backend: BackendKind::Docker,
            ..base.clone()
        },
    };
    Ok(args.images.iter().map(candidate).collect())
}

fn of_values(text: &str, base: &Spec) -> anyhow::Result<Vec<Candidate>> {
    let wrong = |cause: &str| {
        usage(
            format!("invalid values `{text}`: {cause}"),
            Some("--values WORKERS=1,2,4,8: a variable, and its values from the good end to the bad end"),
        )
    };
    let (name, list) = text.split_once('=').ok_or_else(|| wrong("no `=` stands in it"))?;
    let candidate = |value: &str| -> anyhow::Result<Candidate> {
        let variable: EnvVar = format!("{name}={value}")
            .parse()
            .map_err(|cause: String| wrong(&cause))?;
        let mut env = base.env.clone();
        env.retain(|known| known.name != variable.name);
        env.push(variable);
        Ok(Candidate {
            name: format!("{name}={value}"),
            title: None,
            spec: Spec { env, ..base.clone() },
        })
    };
    list.split(',').map(candidate).collect()
}

fn of_flags(args: &Args, settings: Option<&Settings>, base: &Spec) -> anyhow::Result<Vec<Candidate>> {
    let mut lines = args.candidate.clone();
    if let Some(path) = &args.candidates {
        let text = run::read_list(path)?;
        let own = text.lines().map(str::trim);
        lines.extend(
            own.filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(str::to_owned),
        );
    }
    if lines.is_empty() {
        return Err(usage("no candidate is named", Some("one a line: NAME FLAGS…")));
    }
    let read = |line: &String| of_line(line, settings, base);
    let mut found = lines.iter().map(read).collect::<anyhow::Result<Vec<Candidate>>>()?;
    for candidate in &mut found {
        if candidate.spec.backend == BackendKind::Local {
            candidate.spec.image = String::new();
        } else if candidate.spec.image.is_empty() {
            HOST_IMAGE.clone_into(&mut candidate.spec.image);
        }
    }
    Ok(found)
}

fn of_line(line: &str, settings: Option<&Settings>, base: &Spec) -> anyhow::Result<Candidate> {
    let wrong = |cause: &str, hint| usage(format!("invalid candidate `{line}`: {cause}"), hint);
    let words = shell_words::split(line).map_err(|error| wrong(&error.to_string(), None))?;
    let Some((name, flags)) = words.split_first() else {
        return Err(usage("a candidate has no name", Some("--candidate 'old -i app:1'")));
    };
    if name.starts_with('-') {
        return Err(wrong(
            "it begins with a flag",
            Some("its name comes first: --candidate 'old -i app:1'"),
        ));
    }
    let argv = std::iter::once("reproduce-flaky").chain(flags.iter().map(String::as_str));
    let argv: Vec<OsString> = argv.map(OsString::from).collect();
    let matches = args::command().try_get_matches_from(&argv).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        wrong(first.strip_prefix("error: ").unwrap_or(first), None)
    })?;
    let said = GivenFlags::of(&matches);
    if let Some((_, flag)) = SHARED.iter().find(|(id, _)| said.has(&[id])) {
        return Err(wrong(
            &format!("all candidates share {flag}"),
            Some("give it outside of --candidate"),
        ));
    }
    let own = SweepArgs::from_arg_matches(&matches)?.as_said(&matches, argv);
    let own = specification::of(&own, settings)?;
    Ok(Candidate {
        name: name.clone(),
        title: None,
        spec: Spec {
            directory: base.directory.clone(),
            placing: base.placing.clone(),
            ..inherit(own, base, &said)
        },
    })
}

/// Reads `CANDIDATE=…` for each of some words; a commit may be named by its first digits.
pub(super) fn keyed<'a>(
    words: &'a [String],
    flag: &str,
    candidates: &[Candidate],
) -> anyhow::Result<Vec<(usize, &'a str)>> {
    let read = |word: &'a String| {
        // A name may have `=` in it, as that of a value has.
        let (name, value) = word
            .rsplit_once('=')
            .ok_or_else(|| usage(format!("invalid value `{word}` of {flag}: no `=` stands in it"), None))?;
        let is_it = |candidate: &Candidate| candidate.name == name;
        let is_commit = |candidate: &Candidate| {
            candidate.title.is_some()
                && name.len() >= 4
                && (name.starts_with(&candidate.name) || candidate.name.starts_with(name))
        };
        let found = candidates.iter().position(is_it);
        let found = found.or_else(|| candidates.iter().position(is_commit));
        let place = found.ok_or_else(|| {
            let known: Vec<&str> = candidates
                .iter()
                .take(12)
                .map(|candidate| candidate.name.as_str())
                .collect();
            usage(
                format!("no candidate is called `{name}`, as {flag} has it"),
                Some(&format!("they are {}", known.join(", "))),
            )
        })?;
        Ok((place, value))
    };
    words.iter().map(read).collect()
}
