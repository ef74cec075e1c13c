//! The half of an object that is kept for the next start of the system: texts of files, where
//! the operator says that the target's system keeps its network. They stand in the normalised
//! spec beside what is live, so that each half is compared, shown and proposed by itself.

mod ifupdown;
mod networkd;
mod plain;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidelock_sdk::effect::{put_text, remove};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::serde_json::{Map, Value, json};
use tidelock_sdk::{Action, Change, Error, Looked, Machine, Observation, Proposals, Subject};

use crate::WireguardSpec;
use crate::route::Hop;
use crate::spelling::bad;

pub(crate) use plain::{sysctl, table};

/// The largest file that is compared, in bytes.
const LARGEST: u32 = 4 << 20;
/// Where the paths of files stand in a normalised spec.
const KEPT: &str = "/persist/kept";

/// Files by path.
pub(crate) type Files = BTreeMap<String, String>;

/// What a spec says of the next start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "`persist` is true or false")]
#[schemars(with = "bool")]
pub(crate) enum Persist {
    /// Whether it is to be kept. Where nothing is said, it is kept where the target's network is.
    Said(bool),
    /// What that comes to. Not written by people.
    Halves(Halves),
}

/// Both halves of an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Halves {
    /// Whether it is there now.
    live: bool,
    /// What the files of the system say of it.
    kept: Files,
}

/// Who keeps the network of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeper {
    Networkd,
    Ifupdown,
}

/// What `persist` of a spec comes to on a target. `files` are those of a keeper; none of what
/// cannot be kept, with the reason.
pub(crate) fn normalise(
    said: Option<Persist>,
    machine: &Machine<'_>,
    files: impl FnOnce(Keeper) -> Result<Files, Unkept>,
) -> Result<Option<Persist>, Error> {
    if said == Some(Persist::Said(false)) {
        return Ok(said);
    }
    let asked = said == Some(Persist::Said(true));
    let keeper = match machine.network().keeper()?.as_deref() {
        None if asked => {
            let why = "nothing keeps the network of this target; the operator's config says what does: \
                       persist = \"networkd\", or \"ifupdown\"";
            return Err(bad("/persist", why.to_owned()));
        }
        None => return Ok(None),
        Some("networkd") => Keeper::Networkd,
        Some("ifupdown") => Keeper::Ifupdown,
        Some(other) => return Err(Error::plugin(format!("does not know what {other:?} keeps a network in"))),
    };
    match files(keeper) {
        Ok(kept) => Ok(Some(Persist::Halves(Halves { live: true, kept }))),
        Err(Unkept { field, why }) => Err(bad(field, format!("{why}; or say `persist: false`"))),
    }
}

/// Why something is not kept: it could be, if a field said something else.
#[derive(Debug, PartialEq)]
pub(crate) struct Unkept {
    field: &'static str,
    why: String,
}

impl Keeper {
    /// The files of a link.
    pub(crate) fn link(self, spec: &crate::LinkSpec) -> Result<Files, Unkept> {
        match self {
            Self::Networkd => networkd::link(spec),
            Self::Ifupdown => ifupdown::link(spec),
        }
    }

    /// The files of an address.
    pub(crate) fn address(self, spec: &crate::AddressSpec) -> Result<Files, Unkept> {
        match self {
            Self::Networkd => networkd::address(spec),
            Self::Ifupdown => ifupdown::address(spec),
        }
    }

    /// The files of a route that is called `identity`.
    pub(crate) fn route(self, identity: &str, spec: &crate::RouteSpec) -> Result<Files, Unkept> {
        match self {
            Self::Networkd => networkd::route(identity, spec),
            Self::Ifupdown => ifupdown::route(identity, spec),
        }
    }

    /// The files of what a WireGuard interface is set to. Keys stand in files of others.
    pub(crate) fn wireguard(self, spec: &crate::WireguardSpec) -> Result<Files, Unkept> {
        match self {
            Self::Networkd => networkd::wireguard(spec),
            Self::Ifupdown => ifupdown::wireguard(spec),
        }
    }

    /// The files of a rule.
    pub(crate) fn rule(self, spec: &crate::RuleSpec) -> Result<Files, Unkept> {
        match self {
            Self::Networkd => networkd::rule(spec),
            Self::Ifupdown => ifupdown::rule(spec),
        }
    }
}

/// The first lines of each file.
fn header(identity: &str) -> String {
    format!("# {identity}, written by Tidelock from Git. What is changed here is put back.\n")
}

/// A part of a file's name: what is no name of a file is another character.
fn stem(identity: &str) -> String {
    identity.replacen(':', "-", 1).replace('/', "-")
}

/// The name of a link, where it means itself in every file.
fn plain_link<'l>(field: &'static str, name: &'l str) -> Result<&'l str, Unkept> {
    if name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) {
        return Ok(name);
    }
    let why = format!("a link is kept if its name is of letters, digits, `.`, `_` and `-` alone, and {name:?} is not");
    Err(Unkept { field, why })
}

/// The links of a route's hops, in the order of the hops.
fn links_of(hops: &[Hop]) -> Result<Vec<&str>, Unkept> {
    let needs = |why: &str| Err(Unkept { field: "/hops", why: why.to_owned() });
    let mut links = Vec::new();
    for hop in hops {
        links.push(match (&hop.via, &hop.dev) {
            (Some(_), Some(dev)) => plain_link("/hops", dev)?,
            (Some(_), None) => return needs("a route is kept with its links, so name that of each hop: `dev`"),
            (None, _) => return needs("a hop without an address is not kept, since no file says one"),
        });
    }
    Ok(links)
}

/// The file of a WireGuard interface's own key, and those of the keys that its peers know too, by public key.
fn key_files(spec: &WireguardSpec) -> Result<(&str, BTreeMap<&str, &str>), Unkept> {
    let field = "/private_key_file";
    let Some(own) = &spec.private_key_file else {
        let why =
            "the key is a secret, so a tunnel is kept with a file of its own that holds it, such as a `server.file`";
        return Err(Unkept { field, why: why.to_owned() });
    };
    plain_word(field, Some(own))?;
    let mut shared = BTreeMap::new();
    for (key, peer) in spec.peers.iter().filter(|(_, peer)| peer.has_preshared_key()) {
        let Some(file) = &peer.preshared_key_file else {
            let why = format!("the key that {key} knows too is kept in a file of its own: `preshared_key_file`");
            return Err(Unkept { field: "/peers", why });
        };
        plain_word("/peers", Some(file))?;
        shared.insert(key.as_str(), file.as_str());
    }
    Ok((own, shared))
}

/// A value that is one word in every file: none opens a line, or a command, of its own.
fn plain_word(field: &'static str, value: Option<&String>) -> Result<(), Unkept> {
    let plain = |value: &&String| {
        !value.is_empty()
            && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '/'))
    };
    match value {
        Some(value) if !plain(&value) => {
            Err(Unkept { field, why: format!("{value:?} is not kept, since no file could say it") })
        }
        _ => Ok(()),
    }
}

/// What is live of a subject, as a provider saw it.
pub(crate) enum Live {
    /// These fields, and a token for them.
    There(Map<String, Value>, String),
    /// Nothing; what its name tells, and a token.
    Gone(Map<String, Value>, String),
}

/// Adds what is kept to what is live.
pub(crate) fn both(subject: &Subject, live: Live, machine: &Machine<'_>) -> Observation {
    let managed: Vec<String> = subject.fields.iter().filter_map(|field| path_of(field)).collect();
    let mut kept = Map::new();
    for path in &managed {
        match machine.content(path, LARGEST) {
            Ok(Some(bytes)) => {
                kept.insert(path.clone(), String::from_utf8_lossy(&bytes).into_owned().into());
            }
            Ok(None) => {}
            Err(error) => return Observation::Failed(error),
        }
    }
    let own = kept.keys().any(|path| !networkd::is_shared(path));
    match live {
        Live::There(mut fields, seen) => {
            if subject.manages(KEPT) || subject.manages("/persist/live") {
                fields.insert("persist".to_owned(), json!({ "live": true, "kept": kept }));
            } else if subject.manages("/persist") {
                fields.insert("persist".to_owned(), json!(false));
            }
            Observation::present(Value::Object(fields), [seen])
        }
        // It would come back with the next start.
        Live::Gone(mut fields, seen) if own => {
            fields.insert("persist".to_owned(), json!({ "live": false, "kept": kept }));
            Observation::present(Value::Object(fields), [seen])
        }
        Live::Gone(_, seen) => Observation::absent([seen]),
    }
}

/// The path in the pointer of a kept file.
fn path_of(field: &str) -> Option<String> {
    Some(field.strip_prefix(KEPT)?.strip_prefix('/')?.replace("~1", "/").replace("~0", "~"))
}

/// Whether there is something to do about what is live.
pub(crate) fn live_differs<S>(change: &Change<S>) -> bool {
    match change.action {
        Action::Create | Action::Replace => true,
        Action::Delete => !is_gone(change),
        _ => change.fields.iter().any(|field| path_of(field).is_none()),
    }
}

/// Whether only what is kept is there.
pub(crate) fn is_gone<S>(change: &Change<S>) -> bool {
    let live = change.observed.as_ref().and_then(|observed| observed.pointer("/persist/live"));
    live == Some(&Value::Bool(false))
}

/// Proposes what the files of a change need. After the live half: what cannot be set is not kept.
/// The file that means the link `gone` goes whoever else has one beside it.
pub(crate) fn steps<S>(
    change: &Change<S>,
    desired: Option<&Persist>,
    gone: Option<&str>,
    machine: &Machine<'_>,
    propose: &Proposals<'_>,
) -> Result<(), Error> {
    let none = Files::new();
    let wanted = match desired {
        // As an undo of what healed it would have it.
        Some(Persist::Halves(Halves { live: false, .. })) => {
            let why =
                "it was gone, with its files left over, and nothing keeps it so: what should not be there leaves Git";
            return Err(bad("/persist", why.to_owned()));
        }
        Some(Persist::Halves(halves)) => &halves.kept,
        _ => &none,
    };
    let last = change.last.as_ref().and_then(|last| last.pointer(KEPT)).and_then(Value::as_object);
    let old: Vec<&String> = last.into_iter().flatten().map(|(path, _)| path).collect();
    let goes: Vec<&String> = old.into_iter().filter(|path| !wanted.contains_key(*path)).collect();
    let mut put = Vec::new();
    for (path, text) in wanted {
        if machine.content(path, LARGEST)?.as_deref() != Some(text.as_bytes()) {
            put.push((path, text));
        }
    }
    let paths: Vec<String> = put.iter().map(|(path, _)| *path).chain(goes.iter().copied()).cloned().collect();
    let mut looked = machine.digest(&paths)?.into_iter();
    for (path, text) in put {
        propose.add(put_text(path, text).seen(token(looked.next())?.0))?;
    }
    for path in &goes {
        let (seen, is_there) = token(looked.next())?;
        let own = !networkd::is_shared(path) || gone.is_some_and(|link| networkd::means(path, link));
        if is_there && (own || nobody_needs(path, &goes, change.id, machine, propose)?) {
            propose.add(remove(path.as_str()).seen(seen))?;
        }
    }
    Ok(())
}

/// The token of a look, and whether something is there.
fn token(looked: Option<Looked>) -> Result<(String, bool), Error> {
    match looked {
        Some(Looked::Found(entry)) => Ok((entry.seen, true)),
        Some(Looked::Absent(seen)) => Ok((seen, false)),
        Some(Looked::Failed(error)) => Err(error),
        None => Err(Error::plugin("the host gave no answer for a path")),
    }
}

/// Whether nothing but what goes now rests on the file of a link.
fn nobody_needs(
    path: &str,
    goes: &[&String],
    change: u32,
    machine: &Machine<'_>,
    propose: &Proposals<'_>,
) -> Result<bool, Error> {
    let folder = format!("{path}.d");
    let rest = machine.list(&folder)?.unwrap_or_default();
    let stays = |name: &String| !goes.iter().any(|path| **path == format!("{folder}/{name}"));
    let name = json!(path).to_string();
    let wants = |other: &tidelock_sdk::provider::AnyChange| {
        other.id != change && other.desired.as_ref().is_some_and(|desired| desired.contains(&name))
    };
    Ok(!rest.iter().any(stays) && !propose.all_changes().iter().any(wants))
}

#[cfg(test)]
mod tests;
