//! `server.command`: a command that runs when it is asked, or when its guard says so.
//!
//! A command leaves no trace that could be compared, so it has no drift of its own.
//! With a guard (`creates`, `unless`) it is *absent* while the guard does not hold, and
//! making it is running it. Without one it is always there, and runs only when another
//! resource's `notify` asks it to.
//!
//! `observe` gets identities and no specs, so the guard is part of the identity: a
//! command with another guard is another command.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tidelock_sdk::effect::exec;
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::{
    Action, AfterCrash, Change, Diagnostic, Error, Field, Kind, Looked, Machine, Observation, Proposals, Step, Subject,
};

use crate::path::AbsolutePath;

const PREFIX: &str = "command:";
/// A command that says nothing of its time is ended after this many seconds.
const TIMEOUT: u32 = 300;
/// A look that takes longer is no look.
const PROBE_MS: u32 = 10_000;

/// What to do when a crash leaves it unknown whether a command ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Again {
    /// Run it again: it may run twice.
    Repeat,
    /// Ask a person.
    Ask,
}

/// What a `server.command` is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandSpec {
    /// The program's absolute path and its words. No shell. The operator's `exec` must
    /// allow them.
    argv: Vec<String>,
    /// A path that the command makes: it runs by itself while nothing is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    creates: Option<AbsolutePath>,
    /// A command that only looks: while it ends with another code than 0, `argv` runs by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unless: Option<Vec<String>>,
    /// The directory to start in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cwd: Option<AbsolutePath>,
    /// The environment, besides PATH, LANG and HOME.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<String, String>,
    /// Seconds after which it is ended. Default 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<u32>,
    /// What to do when a crash leaves it unknown whether it ran. By default a guarded
    /// command that ran by itself is judged by its guard, and otherwise a person is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after_crash: Option<Again>,
}

/// The part of the spec that the identity holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    argv: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    creates: Option<AbsolutePath>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unless: Option<Vec<String>>,
}

impl Key {
    fn of_identity(identity: &str) -> Option<Self> {
        serde_json::from_str(identity.strip_prefix(PREFIX)?).ok()
    }
}

/// `server.command`.
pub struct Command;

impl Kind for Command {
    type Spec = CommandSpec;
    const NAME: &'static str = "command";
    const DOC: &'static str = "A command. With `creates` or `unless` it runs by itself when they say that it is needed; \
        with neither it runs only when a `notify` with `do: run` asks it to. A notified command runs whatever its \
        guard says. What a command did is not undone when it leaves Git.";
    // What a command did is nowhere in Git: leaving Git must not mean undoing it.
    const HOLDS_DATA: bool = true;
    const TRIGGERS: &'static [&'static str] = &["run"];

    fn fields() -> Vec<Field> {
        vec![
            Field::new("/argv").immutable(),
            Field::new("/creates").immutable(),
            Field::new("/unless").immutable(),
            Field::new("/cwd").how(),
            Field::new("/env").how(),
            Field::new("/timeout").how(),
            Field::new("/after_crash").how(),
        ]
    }

    fn identity(spec: &CommandSpec) -> String {
        let key = Key { argv: spec.argv.clone(), creates: spec.creates.clone(), unless: spec.unless.clone() };
        format!("{PREFIX}{}", json!(key))
    }

    fn requires(spec: &CommandSpec) -> Vec<String> {
        // The program and the directory to start in may be resources themselves.
        let program = spec.argv.first().and_then(|word| AbsolutePath::new(word).ok());
        program.iter().chain(&spec.cwd).map(AbsolutePath::identity).collect()
    }

    fn check(spec: &CommandSpec) -> Vec<Diagnostic> {
        let mut remarks = Vec::new();
        for (field, argv) in [("/argv", Some(&spec.argv)), ("/unless", spec.unless.as_ref())] {
            let Some(argv) = argv else { continue };
            if !argv.first().is_some_and(|program| program.starts_with('/')) {
                let remark =
                    Diagnostic::error("the first word is not the absolute path of a program; there is no shell");
                remarks.push(remark.at(field).hint("such as [\"/usr/bin/systemctl\", \"reload\", \"nginx\"]"));
            }
            if argv.iter().any(|word| word.contains('\0')) {
                remarks.push(Diagnostic::error("a word holds a NUL").at(field));
            }
        }
        for name in spec.env.keys() {
            if name.is_empty() || name.contains(['=', '\0']) {
                let remark = Diagnostic::error(format!("{name:?} cannot name an environment variable"));
                remarks.push(remark.at("/env"));
            }
        }
        if spec.timeout == Some(0) || spec.timeout.is_some_and(|seconds| seconds > 86_400) {
            remarks.push(Diagnostic::error("the timeout is not between 1 second and a day").at("/timeout"));
        }
        remarks
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        let keys: Vec<Option<Key>> = subjects.iter().map(|subject| Key::of_identity(&subject.identity)).collect();
        let made: Vec<String> =
            keys.iter().flatten().filter_map(|key| key.creates.as_ref()).map(ToString::to_string).collect();
        let mut made = machine.stat(&made)?.into_iter();
        let each = keys.into_iter().zip(subjects).map(|(key, subject)| match key {
            Some(key) => {
                let looked = key.creates.as_ref().and_then(|_| made.next());
                seen(&key, looked, machine).unwrap_or_else(Observation::Failed)
            }
            None => Observation::Failed(Error::plugin(format!("{:?} is no command's identity", subject.identity))),
        });
        Ok(each.collect())
    }

    fn steps(change: &Change<CommandSpec>, _machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        if change.action == Action::Delete {
            let message = "what a command did cannot be undone; write `on_remove: release`";
            return Err(Error::target("invalid", message));
        }
        if change.action == Action::Trigger && change.trigger.as_deref() != Some("run") {
            let asked = change.trigger.as_deref().unwrap_or("nothing");
            return Err(Error::target("invalid", format!("a command can be asked to `run`, not to `{asked}`")));
        }
        let spec = change.wanted()?;
        let by_itself = change.action != Action::Trigger;
        let after_crash = match spec.after_crash {
            Some(Again::Repeat) => AfterCrash::Repeat,
            Some(Again::Ask) => AfterCrash::Ask,
            // The guard tells whether it ran by itself, and nothing about a notified run.
            None if by_itself => AfterCrash::Observe,
            None => AfterCrash::Ask,
        };
        let effect = exec(spec.argv.iter().cloned())
            .cwd(spec.cwd.as_ref().map(ToString::to_string))
            .env(spec.env.clone())
            .timeout_ms(spec.timeout.unwrap_or(TIMEOUT).saturating_mul(1000))
            .after_crash(after_crash);
        propose.add(effect)?;
        Ok(Step::Proposed)
    }
}

/// Whether the guard holds. `creates` comes first: where it fails there is no need to probe.
fn seen(key: &Key, looked: Option<Looked>, machine: &Machine<'_>) -> Result<Observation, Error> {
    let mut tokens = Vec::new();
    match looked {
        Some(Looked::Absent(seen)) => return Ok(Observation::absent([seen])),
        Some(Looked::Failed(error)) => return Err(error.at("/creates")),
        Some(Looked::Found(entry)) => tokens.push(entry.seen),
        None => {}
    }
    if let Some(argv) = &key.unless {
        let ended = machine.probe(argv, PROBE_MS).map_err(|error| error.at("/unless"))?;
        match ended.code {
            Some(0) => {}
            Some(_) => return Ok(Observation::absent([])),
            None => return Err(Error::target("io", "the command of `unless` was ended by a signal").at("/unless")),
        }
    }
    let mut observed = Map::new();
    observed.insert("argv".into(), json!(key.argv));
    if let Some(path) = &key.creates {
        observed.insert("creates".into(), json!(path));
    }
    if let Some(argv) = &key.unless {
        observed.insert("unless".into(), json!(argv));
    }
    Ok(Observation::present(Value::Object(observed), tokens))
}
