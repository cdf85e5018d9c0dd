//! `schema`: the JSON schema of everything that the tool writes or prints, derived from the types that it writes.

use clap::{Args as ClapArgs, ValueEnum};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::amplify::Amplified;
use super::culprit::Found;
use super::history::track::Actions;
use super::prove::Proved;
use super::replay::Replayed;
use super::{output, sweep};
use crate::cli::settings;
use crate::exit_code::ExitCode;
use crate::judge::{Exit, Outcome};
use crate::report::summary::Summary;
use crate::spec::Spec;
use crate::stats::comparison::Comparison;
use crate::stats::history::History;
use crate::stats::plan::Plan;
use crate::sweep::event::Event;

/// `schema`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    reproduce-flaky schema outcome\n  \
    reproduce-flaky schema settings > reproduce-flaky.schema.json\n\n\
    Next: reproduce-flaky summary --format json")]
pub struct Args {
    /// What to describe.
    #[arg(value_name = "NAME")]
    pub name: Document,
}

/// What has a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Document {
    /// `sweep.json`: what a sweep runs.
    Sweep,
    /// `exit.json`: how an iteration ended.
    Exit,
    /// `outcome.json`: what an iteration came to; also what `show --format json` prints.
    Outcome,
    /// A line of `events.jsonl` and of `--progress jsonl`.
    Events,
    /// A line of `summary --format json`.
    Summary,
    /// `compare --format json`.
    Compare,
    /// `plan --format json`.
    Plan,
    /// `history --format json`.
    History,
    /// `history --track`.
    Track,
    /// The last line of `replay --format json`.
    Replay,
    /// The last line of `prove --format json`.
    Prove,
    /// The last line of `amplify --format json`.
    Amplify,
    /// The last line of `culprit --format json`.
    Culprit,
    /// `reproduce-flaky.toml`.
    Settings,
}

/// Prints the schema.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    output::json(&match args.name {
        Document::Sweep => of::<Spec>(),
        Document::Exit => of::<Exit>(),
        Document::Outcome => of::<Outcome>(),
        Document::Events => of::<Event>(),
        Document::Summary => of::<Summary>(),
        Document::Compare => of::<Comparison>(),
        Document::Plan => of::<Plan>(),
        Document::History => of::<History>(),
        Document::Track => of::<Actions>(),
        Document::Replay => of::<Replayed>(),
        Document::Prove => of::<Proved>(),
        Document::Amplify => of::<Amplified<'static>>(),
        Document::Culprit => of::<Found<'static>>(),
        Document::Settings => settings::schema(&sweep::args::command()),
    })?;
    Ok(ExitCode::Passed)
}

/// The schema of what is written of a type. A reader has to take fields that are not in it: later versions add some.
fn of<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    generator.into_root_schema_for::<T>().to_value()
}
