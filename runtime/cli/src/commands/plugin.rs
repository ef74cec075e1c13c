//! `tidelock plugin list|inspect|accept`: what plugins there are, what they may do, and
//! the operator's word that a digest is the one.

use std::sync::Arc;

use serde_json::{Value, json};
use tidelock_host::{Described, Host, Lock};
use tidelock_model::effect::shown;
use tidelock_model::grant::GrantDecl;
use tidelock_model::kind::KindInfo;
use tidelock_model::limits::Limits;
use tidelock_model::plugin::PluginFacts;

use super::fields::{self, paragraph};
use super::history::word;
use crate::config::{Loaded, toml::nearest};
use crate::context::Context;
use crate::error::{CliError, Exit, Kind};
use crate::output::one_line;
use crate::output::progress::Progress;
use crate::output::table::{Cell, Look, table};
use crate::{plugins, wire};

/// What to do with plugins.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists the plugins that were found
    List,
    /// Shows what a plugin may do, its kinds and their fields, its digest and its limits
    Inspect {
        /// The plugin
        name: String,
    },
    /// Binds a plugin's name to the digest that it has now
    Accept {
        /// The plugins
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        names: Vec<String>,
        /// Every plugin that was found
        #[arg(long)]
        all: bool,
    },
}

pub(crate) fn run(context: &Context, command: &Command) -> Result<Exit, CliError> {
    let loaded = context.config()?;
    let host = Arc::new(plugins::host(&loaded, Arc::new(Progress::new(false)))?);
    let facts = host.facts();
    if facts.is_empty() {
        return Err(plugins::none(&loaded));
    }
    let lock = Lock::read(loaded.lock())?;
    match command {
        Command::List => list(context, &facts, &lock)?,
        Command::Inspect { name } => inspect(context, &host, named(&facts, name)?, &lock, &loaded)?,
        Command::Accept { names, all } => accept(context, &facts, names, *all, lock)?,
    }
    Ok(Exit::Done)
}

fn named<'a>(facts: &'a [PluginFacts], name: &str) -> Result<&'a PluginFacts, CliError> {
    facts.iter().find(|one| one.plugin.name == name).ok_or_else(|| {
        let known: Vec<&str> = facts.iter().map(|one| one.plugin.name.as_str()).collect();
        let hint = match nearest(name, &known) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("found: {}", known.join(", ")),
        };
        CliError::new(Kind::Usage, format!("there is no plugin {}", one_line(name))).hint(hint)
    })
}

/// Where a plugin stands in the lock.
fn standing(facts: &PluginFacts, lock: &Lock) -> (&'static str, Look) {
    match lock.accepted(&facts.plugin.name) {
        Some(accepted) if accepted.digest == facts.plugin.digest => ("accepted", Look::Good),
        Some(_) => ("changed", Look::Bad),
        None => ("not accepted", Look::Warn),
    }
}

fn list(context: &Context, facts: &[PluginFacts], lock: &Lock) -> Result<(), CliError> {
    if context.out.is_json() {
        let all: Vec<Value> = facts.iter().map(|facts| as_json(facts, lock)).collect();
        return context.out.json(&json!({ "format": "tidelock.plugins/1", "plugins": all }));
    }
    let rows: Vec<Vec<Cell>> = facts
        .iter()
        .map(|facts| {
            let (standing, look) = standing(facts, lock);
            vec![
                Cell::plain(&facts.plugin.name),
                Cell::plain(word(&facts.role)),
                Cell::plain(&facts.plugin.version),
                Cell::new(standing, look),
                Cell::dim(facts.plugin.digest.short()),
                Cell::dim(&facts.origin),
            ]
        })
        .collect();
    context.out.text(&table(&["PLUGIN", "ROLE", "VERSION", "LOCK", "DIGEST", "FROM"], &rows, context.out.paint))
}

fn as_json(facts: &PluginFacts, lock: &Lock) -> Value {
    let mut out = json!(facts);
    out["lock"] = json!(standing(facts, lock).0);
    out
}

fn inspect(
    context: &Context,
    host: &Arc<Host>,
    facts: &PluginFacts,
    lock: &Lock,
    loaded: &Loaded,
) -> Result<(), CliError> {
    let name = &facts.plugin.name;
    let limits = host.limits_of(name);
    let grants = loaded.config.grants.get(name);
    if context.out.is_json() {
        let mut out = as_json(facts, lock);
        out["limits"] = json!(limits);
        out["grants"] = json!(grants);
        say_in_json(described(host, name, lock)?.as_ref(), name, &mut out);
        return context.out.json(&json!({ "format": "tidelock.plugin/1", "plugin": out }));
    }
    let paint = context.out.paint;
    let mut text = format!("{} {}, a {}\n\n", paint.bold(name), one_line(&facts.plugin.version), word(&facts.role));
    let mut field = |name: &str, value: &str| text.push_str(&format!("  {name:<9} {}\n", one_line(value)));
    field("digest", &facts.plugin.digest.to_string());
    field("lock", standing(facts, lock).0);
    field("from", &format!("{} ({} bytes)", facts.origin, facts.size));
    field("contract", &facts.api);
    match described(host, name, lock)? {
        Ok(described) => text.push_str(&told(&described, name, context)),
        Err(why) => text.push_str(&format!("\nIts kinds and fields cannot be told: {}\n", one_line(&why))),
    }
    text.push_str("\nIt may, and nothing else:\n");
    for permission in &facts.permissions {
        let import = paint.dim(&one_line(&permission.import));
        text.push_str(&format!("  - {}\n    {import}\n", one_line(&permission.means)));
    }
    match grants {
        None => text.push_str(&format!("\nGranted: nothing ([grants.{name}] is not in the config)\n")),
        Some(grants) => {
            text.push_str("\nGranted:\n");
            grants.iter().for_each(|grant| text.push_str(&granted(grant)));
        }
    }
    text.push_str("\nLimits of one call:\n");
    text.push_str(&limits_text(&limits));
    if standing(facts, lock).0 != "accepted" {
        text.push_str(&format!("\nNext: {}\n", context.command(&["plugin", "accept", name])));
    }
    context.out.text(&text)
}

/// What the plugin says of itself, or why it was not asked or cannot be.
fn described(host: &Arc<Host>, name: &str, lock: &Lock) -> Result<Result<Described, String>, CliError> {
    if lock.accepted(name).is_none() {
        return Ok(Err("it runs once it is accepted, and not before".to_owned()));
    }
    Ok(wire::block_on(host.describe(name, lock))?.map_err(|fault| fault.message))
}

fn say_in_json(described: Result<&Described, &String>, name: &str, out: &mut Value) {
    let fields = |schema: &Value, special: &[_]| -> Vec<Value> {
        fields::of(schema, special).iter().map(fields::Field::json).collect()
    };
    match described {
        Ok(Described::Renderer(info)) => {
            out["summary"] = json!(info.summary);
            out["settings"] = json!({ "fields": fields(&info.settings_schema, &[]), "schema": info.settings_schema });
        }
        Ok(Described::Provider(info)) => {
            out["summary"] = json!(info.summary);
            let kind = |kind: &KindInfo| {
                json!({
                    "name": format!("{name}.{}", kind.name), "doc": kind.doc, "holds_data": kind.holds_data,
                    "triggers": kind.triggers, "fields": fields(&kind.schema, &kind.fields), "schema": kind.schema,
                })
            };
            out["kinds"] = info.kinds.iter().map(kind).collect();
        }
        Err(why) => out["not_described"] = json!(why),
    }
}

/// Its kinds with their fields, or a renderer's settings.
fn told(described: &Described, name: &str, context: &Context) -> String {
    let paint = context.out.paint;
    let of = |schema: &Value, special: &[_]| -> String {
        fields::of(schema, special).iter().map(fields::Field::text).collect()
    };
    match described {
        Described::Renderer(info) => {
            let settings = of(&info.settings_schema, &[]);
            let settings = if settings.is_empty() { "    none\n".to_owned() } else { settings };
            format!("  does      {}\n\nSettings, in `settings` of stack.yaml:\n\n{settings}", one_line(&info.summary))
        }
        Described::Provider(info) => {
            let mut text =
                format!("  keeps     {}\n\nKinds, and the fields of each in `spec`:\n", one_line(&info.summary));
            for kind in &info.kinds {
                text.push_str(&format!("\n  {}\n", paint.bold(&one_line(&format!("{name}.{}", kind.name)))));
                text.push_str(&paragraph(&kind.doc, 4));
                if !kind.triggers.is_empty() {
                    text.push_str(&paragraph(&format!("`notify` may ask it to: {}.", kind.triggers.join(", ")), 4));
                }
                text.push('\n');
                text.push_str(&of(&kind.schema, &kind.fields));
            }
            text
        }
    }
}

/// What one table of grants opens: its targets, and a line for each key that opens something.
fn granted(grant: &GrantDecl) -> String {
    let mut text = format!("  - on {}\n", one_line(&grant.targets.join(", ")));
    let given = serde_json::to_value(grant).unwrap_or_default();
    if grant.keys().next().is_none() {
        text.push_str("    nothing\n");
    }
    let mut line = |key: &str, value: &str| text.push_str(&format!("    {key:<13} {}\n", one_line(value)));
    for key in grant.keys() {
        match key {
            "exec" => grant.exec.iter().for_each(|argv| line(key, &shown(argv))),
            "exec_read" => grant.exec_read.iter().for_each(|argv| line(key, &shown(argv))),
            _ => match &given[key] {
                Value::Array(words) => {
                    line(key, &words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "));
                }
                other => line(key, &other.to_string()),
            },
        }
    }
    text
}

fn limits_text(limits: &Limits) -> String {
    let Ok(Value::Object(limits)) = serde_json::to_value(limits) else { return String::new() };
    let mut text = String::new();
    for (key, value) in &limits {
        let number = value.as_u64().unwrap_or_default();
        let shown = match key.as_str() {
            "table_elements" | "host_calls" | "batch" => number.to_string(),
            key if key.ends_with("_ms") => format!("{} s", number as f64 / 1000.0),
            _ if number >= 1 << 20 => format!("{} MiB", number >> 20),
            _ => format!("{} KiB", number >> 10),
        };
        text.push_str(&format!("  {key:<15} {shown}\n"));
    }
    text
}

fn accept(
    context: &Context,
    facts: &[PluginFacts],
    names: &[String],
    all: bool,
    mut lock: Lock,
) -> Result<(), CliError> {
    let chosen: Vec<&PluginFacts> = if all {
        facts.iter().collect()
    } else {
        names.iter().map(|name| named(facts, name)).collect::<Result<_, _>>()?
    };
    let mut text = String::new();
    let mut accepted = Vec::new();
    for facts in chosen {
        let plugin = &facts.plugin;
        let news = lock.accept(plugin);
        let verb = if news { "accepted" } else { "was accepted already:" };
        text.push_str(&format!("{verb} {} {} ({})\n", plugin.name, one_line(&plugin.version), plugin.digest));
        if news {
            for permission in &facts.permissions {
                text.push_str(&format!("  may {}\n", one_line(&permission.means)));
            }
        }
        accepted.push(json!({ "plugin": plugin, "new": news }));
    }
    lock.write()?;
    if context.out.is_json() {
        return context.out.json(&json!({ "format": "tidelock.accepted/1", "accepted": accepted }));
    }
    context.out.text(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_of_a_grant_is_told() {
        let decl = json!({
            "targets": ["db-*", "db"], "databases": ["shop"], "sql": ["role:shop*", "schema:shop/**"],
            "tables": ["inet filter"], "exec": [["/bin/true"], ["/bin/a", "**"]], "special_modes": true,
        });
        let lines = granted(&serde_json::from_value(decl).unwrap());
        assert_eq!(
            lines.lines().collect::<Vec<_>>(),
            [
                "  - on db-*, db",
                "    exec          /bin/true",
                "    exec          /bin/a '**'",
                "    special_modes true",
                "    databases     shop",
                "    sql           role:shop*, schema:shop/**",
                "    tables        inet filter",
            ]
        );
        let nothing = granted(&serde_json::from_value(json!({ "targets": ["a"] })).unwrap());
        assert!(nothing.contains("nothing"), "{nothing}");
    }
}
