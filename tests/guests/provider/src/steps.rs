//! Proposals, good and bad. The name of the resource says which.

use crate::exports::tidelock::provider::provider::{Change, Step, Waits};
use crate::tidelock::log::log;
use crate::tidelock::machine::propose::{self, AfterCrash, Attributes, Command, Common, File};
use crate::tidelock::types::types::Error;
use crate::{error, field, misdeeds, word_of};

const NONE: Attributes = Attributes { mode: None, owner: None, group: None };

fn common(change: &Change) -> Common {
    Common {
        change: change.id,
        precondition: change.seen.first().cloned(),
        together: None,
        after_crash: AfterCrash::Observe,
        extras: vec![],
    }
}

fn file(path: &str, content: &str) -> File {
    File { path: path.into(), content: content.into(), attributes: NONE, parents: false, backup: None, validate: None }
}

fn argv(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

pub fn steps(changes: Vec<Change>) -> Result<Vec<Step>, Error> {
    let mut out = Vec::new();
    for change in &changes {
        let word = word_of(&change.address).to_string();
        misdeeds::commit(&word);
        if word == "short" {
            continue;
        }
        out.push(step(&word, change));
    }
    Ok(out)
}

fn step(word: &str, change: &Change) -> Step {
    let desired = change.desired.as_deref().unwrap_or("");
    let path = change.identity.strip_prefix("path:").unwrap_or("").to_string();
    let digest = field(desired, "digest").to_string();
    let own = common(change);
    let put = |path: &str, content: &str| propose::put_file(&own, &file(path, content));
    let result = match word {
        "wrong-path" => put("/etc/passwd", &digest),
        "wrong-digest" => put(&path, &format!("sha256:{}", "ab".repeat(32))),
        "not-a-digest" => put(&path, "\u{1b}[2J"),
        "wrong-change" => propose::put_file(&Common { change: 999, ..common(change) }, &file(&path, &digest)),
        "forged-token" => {
            let forged = Common { precondition: Some("ff".repeat(16)), ..common(change) };
            propose::put_file(&forged, &file(&path, &digest))
        }
        "bad-group" => {
            propose::put_file(&Common { together: Some("\u{1b}".into()), ..common(change) }, &file(&path, &digest))
        }
        "bad-mode" => propose::set_attributes(&own, &path, &Attributes { mode: Some(0o100_644), ..NONE }),
        "other-command" => propose::exec(
            &own,
            &Command { argv: argv(&["/bin/sh", "-c", "id"]), cwd: None, env: vec![], timeout_ms: 1000 },
        ),
        "own-command" => propose::exec(
            &own,
            &Command { argv: argv(&["/bin/true", "--quietly"]), cwd: None, env: vec![], timeout_ms: 1000 },
        ),
        "other-validate" => {
            propose::put_file(&own, &File { validate: Some(argv(&["/bin/sh", "-c", "id"])), ..file(&path, &digest) })
        }
        "escape-link" => propose::link(&own, &path, "/a\u{1b}[2J"),
        "remove-all" => propose::remove(&own, "/", true),
        "effect-flood" => loop {
            if propose::link(&own, &path, &"x".repeat(4000)).is_err() {
                break Ok(());
            }
        },
        "strays" => field(desired, "strays").split(',').try_for_each(|stray| propose::remove(&own, stray, false)),
        "contradict" => {
            drop(put(&path, &digest));
            return Step::NeedsReplace(vec!["/path".into()]);
        }
        "needs-replace" => return Step::NeedsReplace(vec!["/path".into()]),
        "bad-pointer" => return Step::NeedsReplace(vec!["path".into()]),
        "waits" => return Step::Waits(Waits { on: "path:/etc".into(), why: "not \u{1b}[2Jyet".into() }),
        "refuse" => return Step::Refused(error("invalid", "I would rather not")),
        // Takes the host's no in silence.
        "swallow" => {
            drop(put(&path, &digest));
            Ok(())
        }
        _ => put(&path, &digest),
    };
    match result {
        Ok(()) => Step::Proposed,
        Err(error) => {
            log::log(log::Level::Warn, &error.message);
            Step::Refused(error)
        }
    }
}
