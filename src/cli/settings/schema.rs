//! The schema of the settings file, made from the flags of a sweep, for editors.

use std::any::TypeId;

use serde_json::{Map, Value, json};

use super::{ADDED, NEVER_SET};
use crate::spec::SETTINGS_FILE;

/// The schema of the settings file, for editors. `flags` is what it may set.
pub fn schema(flags: &clap::Command) -> Value {
    let list = |item: Value| json!({ "anyOf": [item, { "type": "array", "items": item }] });
    let mut properties = Map::new();
    for arg in flags.get_arguments() {
        let Some(long) = arg.get_long().filter(|long| !NEVER_SET.contains(long)) else {
            continue;
        };
        let words: Vec<String> = arg
            .get_possible_values()
            .iter()
            .map(|word| word.get_name().to_owned())
            .collect();
        let kind = arg.get_value_parser().type_id();
        // Sizes are whole numbers too, in a type of their own, and are written with a unit.
        let is_whole = kind == TypeId::of::<u32>();
        let mut value = if !arg.get_action().takes_values() {
            json!({ "type": "boolean" })
        } else if !words.is_empty() {
            json!({ "type": "string", "enum": words })
        } else if is_whole {
            json!({ "type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]+$" })
        } else {
            json!({ "type": ["string", "number"] })
        };
        if matches!(arg.get_action(), clap::ArgAction::Append) || arg.get_value_delimiter().is_some() {
            // Words in a list may stand behind each other, too.
            value = list(json!({ "type": ["string", "number"] }));
        }
        value["description"] = arg.get_help().map(ToString::to_string).unwrap_or_default().into();
        properties.insert(long.to_owned(), value);
    }
    for (name, description) in [
        (
            "before",
            "A command that is run once before the first iteration, such as a build.",
        ),
        ("pytest-args", "Handed to pytest in front of what follows `--`."),
        (ADDED, "Patterns of what is secret, besides those on the command line."),
    ] {
        let mut value = list(json!({ "type": "string" }));
        value["description"] = description.into();
        properties.insert(name.to_owned(), value);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": SETTINGS_FILE,
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}
