//! What comes back from a provider, checked before it is used: lengths, shapes,
//! identities, JSON, tokens. The `String` of an error says what the plugin gave.

use std::collections::BTreeSet;

use serde_json::Value;
use tidelock_model::error::{Blame, Fault, tame};
use tidelock_model::kind::{Checked, FieldInfo, KindInfo, ProviderInfo, Roles};
use tidelock_model::name::{Identity, Kind};
use tidelock_model::observation::{Observation, Readiness, SecretProbe};
use tidelock_model::plugin::PluginRef;
use tidelock_model::port::Found;

use crate::bindings::discover::exports::tidelock::provider::discover as wit_discover;
use crate::bindings::provider::exports::tidelock::provider::provider as wit;
use crate::bindings::types;
use crate::convert;
use crate::door::{Door, Export, MAX_LINE};
use crate::json;
use crate::proposals::Said;
use crate::renderer::MAX_SUMMARY;
use crate::seen::SeenTable;

const MAX_DOC: usize = 16 << 10;
/// What something is called.
const MAX_NAME: usize = 200;
/// Kinds of a provider, fields of a kind, edges and remarks of a resource.
const MAX_LIST: usize = 1_000;

/// An error that a guest gave for a whole call.
pub(crate) fn whole_call(door: &Door, export: Export, error: types::Error) -> Fault {
    let mut fault = convert::from_guest(door, error);
    fault.message = format!("plugin {} failed in `{}`: {}", door.plugin, export.word(), fault.message);
    fault
}

/// What JSON texts count against the limit on output. Parsed values take more room
/// than their text, the more the smaller they are.
pub(crate) fn weight<'a>(texts: impl IntoIterator<Item = &'a str>) -> usize {
    texts.into_iter().map(|text| text.len() + 32 * json::nodes(text)).sum()
}

/// The JSON of an observation.
pub(crate) fn observed(answer: &wit::Observation) -> Option<&str> {
    match answer {
        wit::Observation::Present(present) => Some(&present.observed),
        wit::Observation::Absent(_) | wit::Observation::Waits(_) | wit::Observation::Failed(_) => None,
    }
}

fn few<T>(what: &str, list: Vec<T>) -> Result<Vec<T>, String> {
    if list.len() > MAX_LIST { Err(format!("{} {what}; {MAX_LIST} are the most", list.len())) } else { Ok(list) }
}

pub(crate) fn description(plugin: &PluginRef, description: wit::Description) -> Result<ProviderInfo, String> {
    let mut names = BTreeSet::new();
    let mut kinds = Vec::new();
    for kind in few("kinds", description.kinds)? {
        let full = format!("{}.{}", plugin.name, kind.name);
        if Kind::new(&full).is_err() {
            return Err(format!("{:?}, which is not a kind", tame(&full, MAX_SUMMARY)));
        }
        if !names.insert(kind.name.clone()) {
            return Err(format!("the kind {} twice", kind.name));
        }
        let name = kind.name.clone();
        kinds.push(kind_info(kind).map_err(|why| format!("for the kind {name}: {why}"))?);
    }
    Ok(ProviderInfo {
        name: description.name,
        version: plugin.version.clone(),
        summary: tame(&description.summary, MAX_SUMMARY),
        kinds,
    })
}

fn kind_info(kind: wit::Kind) -> Result<KindInfo, String> {
    let mut fields = Vec::new();
    for field in few("fields", kind.fields)? {
        fields.push(FieldInfo {
            path: json::pointer(field.path)?,
            roles: roles(field.roles),
            list_key: field.list_key.map(|key| json::key("list key", key)).transpose()?,
            owns_listed: field.owns_listed,
            default: field.default.map(|text| json::parse(&text)).transpose()?,
        });
    }
    let mut triggers = Vec::new();
    for trigger in few("triggers", kind.triggers)? {
        triggers.push(json::key("trigger", trigger)?);
    }
    Ok(KindInfo {
        name: kind.name,
        doc: tame(&kind.doc, MAX_DOC),
        schema: json::object(&kind.schema)?,
        fields,
        holds_data: kind.holds_data,
        whole_target: kind.whole_target,
        settle_ms: kind.settle_ms,
        triggers,
    })
}

fn roles(roles: wit::Role) -> Roles {
    let has = |role| roles.contains(role);
    Roles {
        immutable: has(wit::Role::IMMUTABLE),
        sensitive: has(wit::Role::SENSITIVE),
        write_only: has(wit::Role::WRITE_ONLY),
        content: has(wit::Role::CONTENT),
        strays: has(wit::Role::STRAYS),
        how: has(wit::Role::HOW),
        text: has(wit::Role::TEXT),
    }
}

fn identities(what: &str, texts: Vec<String>) -> Result<Vec<Identity>, String> {
    few(what, texts)?.into_iter().map(json::identity).collect()
}

/// The key of what a resource speaks for besides its own identity.
const PART: &str = "part";

pub(crate) fn checked(checked: wit::Checked) -> Result<Checked, String> {
    let parts = checked.extras.into_iter().filter(|(key, _)| key == PART).map(|(_, identity)| identity);
    Ok(Checked {
        identity: json::identity(checked.identity)?,
        provides: identities("identities in `provides`", checked.provides)?,
        requires: identities("identities in `requires`", checked.requires)?,
        parts: identities("identities of parts", parts.collect())?,
        diagnostics: few("remarks", checked.diagnostics)?.into_iter().map(convert::diagnostic).collect(),
    })
}

/// A resource that is larger than can be compared is no breach of its plugin's.
fn too_large(text: &str) -> Option<Fault> {
    let why = json::too_long(text)?;
    let fault = Fault::new("limit", Blame::Target, format!("the resource is too large to be compared: {why}"));
    Some(fault.hint("say it in several resources, each of its own name, such as a table for each large set"))
}

pub(crate) fn normalised(door: &Door, answer: Result<String, types::Error>) -> Result<Result<Value, Fault>, String> {
    Ok(match answer {
        Ok(text) => match too_large(&text) {
            Some(fault) => Err(fault),
            None => Ok(json::object(&text)?),
        },
        Err(error) => Err(convert::from_guest(door, error)),
    })
}

pub(crate) fn observation(door: &Door, seen: &SeenTable, answer: wit::Observation) -> Result<Observation, String> {
    let tokens = |tokens: Vec<String>| {
        for token in &tokens {
            if seen.resolve(token).is_none() {
                return Err(format!("the token {:?}, which was not given out in this pass", tame(token, 80)));
            }
        }
        Ok(tokens)
    };
    Ok(match answer {
        wit::Observation::Present(present) => {
            if let Some(fault) = too_large(&present.observed) {
                return Ok(Observation::Failed { fault });
            }
            let mut probes = Vec::new();
            for probe in few("probes", present.probes)? {
                probes.push(SecretProbe {
                    field: json::pointer(probe.field)?,
                    method: json::key("method", probe.method)?,
                    material: json::key("material", probe.material)?,
                });
            }
            Observation::Present {
                observed: json::object(&present.observed)?,
                unknown: json::pointers(few("unknown fields", present.unknown)?)?,
                handle: present.handle.map(|handle| json::key("handle", handle)).transpose()?,
                readiness: match present.readiness {
                    wit::Readiness::Ready => Readiness::Ready,
                    wit::Readiness::Settling => Readiness::Settling,
                    wit::Readiness::Broken => Readiness::Broken,
                },
                seen: tokens(present.seen)?,
                probes,
            }
        }
        wit::Observation::Absent(seen) => Observation::Absent { seen: tokens(seen)? },
        wit::Observation::Waits(waits) => {
            Observation::Waits { on: json::identity(waits.on)?, why: tame(&waits.why, MAX_LINE) }
        }
        wit::Observation::Failed(error) => Observation::Failed { fault: convert::from_guest(door, error) },
    })
}

/// The key of something found that is no resource.
const LEFT_OUT: &str = "left-out";

pub(crate) fn found(found: wit_discover::Found) -> Result<Found, String> {
    Ok(Found {
        left_out: found.extras.iter().any(|(key, _)| key == LEFT_OUT),
        // What something is called, from which names are made: whatever it holds, others are found too.
        name: json::key("name", tame(&found.name, MAX_NAME).replace(['\n', '\t'], " "))?,
        spec: json::object(&found.spec)?,
        remarks: few("remarks", found.remarks)?.iter().map(|remark| tame(remark, MAX_LINE)).collect(),
    })
}

pub(crate) fn step(door: &Door, answer: wit::Step) -> Result<Said, String> {
    Ok(match answer {
        wit::Step::Proposed => Said::Proposed,
        wit::Step::NeedsReplace(fields) => Said::NeedsReplace(json::pointers(few("fields", fields)?)?),
        wit::Step::Waits(waits) => Said::Waits { on: json::identity(waits.on)?, why: tame(&waits.why, MAX_LINE) },
        wit::Step::Refused(error) => Said::Refused(convert::from_guest(door, error)),
    })
}
