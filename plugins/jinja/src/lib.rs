//! The renderer `jinja`: templates that give YAML documents.
//!
//! `*.yaml.j2` of the module are rendered and read as YAML; each document is a resource.
//! Every other `.j2` is there to be included, imported, or named by `{ $template: path }`
//! in a spec, in whose place its text goes. Names that start with `_` are for including
//! too. Nothing but `.j2` is ever read.
//!
//! Templates see the top-level keys of the values as variables, all of them as `values`,
//! and `target.name`, `target.labels.NAME` and `target.facts.NAME`. Each is asked for
//! when a template uses it and not before, so that a change to a value that nobody uses
//! renders nothing anew.

mod engine;
mod filters;
mod problem;
mod scope;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidelock_documents::{Limits, read};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::{Inputs, Output, Place, Problem, Problems, Renderer, Tree};

use crate::engine::Engine;

/// What makes a directory a stack.
const STACK: &str = "stack.yaml";

/// The renderer.
pub struct Jinja;

/// The stack's `settings:`. There are none yet.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {}

impl Renderer for Jinja {
    const NAME: &'static str = "jinja";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Jinja templates, *.yaml.j2 and *.yml.j2, that give YAML documents";

    type Settings = Settings;

    fn render(tree: &Tree, inputs: &Inputs, out: &mut Output) -> Result<(), Problems> {
        let Settings {} = inputs.settings()?;
        let engine = Engine::new(tree, inputs);
        let mut problems = Problems::default();
        let templates = tree.glob("**/*.{yaml,yml}.j2")?;
        if templates.is_empty() {
            return nothing_to_render(tree, inputs);
        }
        for file in templates {
            let partial = file.rsplit('/').next().is_some_and(|name| name.starts_with('_'));
            if !partial {
                problems.take(resources(&file, &engine, out));
            }
        }
        problems.into_result()
    }
}

/// Without a template there is nothing to render, and files of YAML are those of somebody who expected that they
/// are: an empty answer would even have what was there before removed.
fn nothing_to_render(tree: &Tree, inputs: &Inputs) -> Result<(), Problems> {
    let values = inputs.values_files()?;
    let mut files = tree.glob("**/*.{yaml,yml}")?;
    files.retain(|file| file != STACK && !values.contains(file));
    let Some(first) = files.first() else { return Ok(()) };
    let more = if files.len() > 1 { format!(" and {} more", files.len() - 1) } else { String::new() };
    let message = format!("no file here is named *.yaml.j2 or *.yml.j2, and jinja renders no others: {first}{more}");
    let hint = format!("name it {first}.j2, or take `renderer: jinja` out of stack.yaml");
    Err(Problem::new(message).at(Place::file(first)).hint(hint).into())
}

fn resources(file: &str, engine: &Engine, out: &mut Output) -> Result<(), Problems> {
    let text = engine.render(file)?;
    let (documents, fault) = read(&text, &Limits::default());
    let mut problems = Problems::default();
    for mut document in documents {
        if !document.value.is_object() {
            let message = "a document of the rendered text is not a mapping with `kind`, `name` and `spec`";
            problems.push(Problem::new(message).at(Place::file(file)));
        } else if problems.take(fill_in(&mut document.value, file, engine)).is_some() {
            // Lines of the rendered text are not lines of the template.
            out.emit(&document.value, Place::file(file))?;
        }
    }
    if let Some(fault) = fault {
        let line = text.lines().nth(fault.line.saturating_sub(1) as usize).unwrap_or_default().trim();
        let message = format!("{}, in line {} of the rendered text: {}", fault.message, fault.line, shortened(line));
        let hint =
            fault.hint.unwrap_or_else(|| "values may need `| tojson`, which quotes what YAML would misread".into());
        problems.push(Problem::new(message).at(Place::file(file)).hint(hint));
    }
    problems.into_result()
}

/// Puts the rendered text in the place of every `{ $template: path }`.
fn fill_in(value: &mut Value, file: &str, engine: &Engine) -> Result<(), Problems> {
    let named = value.as_object().filter(|object| object.len() == 1).and_then(|object| object.get("$template"));
    if let Some(named) = named {
        let Some(path) = named.as_str() else {
            return Err(Problem::new("`$template` is not a path").at(Place::file(file)).into());
        };
        let path = engine::beside(file, path);
        *value = Value::String(engine.render(&path).map_err(|mut problems| {
            for problem in &mut problems.0 {
                problem.message.push_str(&format!(" (the `$template` of {file})"));
            }
            problems
        })?);
        return Ok(());
    }
    let mut problems = Problems::default();
    let children: Vec<&mut Value> = match value {
        Value::Object(map) => map.values_mut().collect(),
        Value::Array(items) => items.iter_mut().collect(),
        _ => Vec::new(),
    };
    for child in children {
        problems.take(fill_in(child, file, engine));
    }
    problems.into_result()
}

fn shortened(line: &str) -> String {
    let short: String = line.chars().take(80).collect();
    if short.len() < line.len() { format!("{short}…") } else { short }
}

tidelock_sdk::register_renderer!(Jinja);

#[cfg(test)]
mod tests;
