//! What is on a target already, as resources: the first step from a system that was made by
//! hand to one that follows Git. Reads alone; what comes of it is for a person to commit.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidelock_model::error::{Blame, Fault, Severity};
use tidelock_model::kind::KindInfo;
use tidelock_model::name::{Identity, Kind, Name, NameError};
use tidelock_model::observation::{Observation, Subject};
use tidelock_model::port::{Declared, Found, Provider};

use crate::error::RunError;
use crate::runtime::Runtime;

/// Something that is there, and how a stack would say it.
#[derive(Debug, Clone, PartialEq)]
pub struct Discovered {
    /// The kind.
    pub kind: Kind,
    /// A name, unique among those of the kind.
    pub name: Name,
    /// What it is on its target.
    pub identity: Identity,
    /// The spec, as a person would write it.
    pub spec: Value,
    /// What of it a spec cannot say.
    pub remarks: Vec<String>,
    /// Whether a stack owns it already.
    pub owned: bool,
}

/// What a plugin found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Discovery {
    /// What resources could stand for.
    pub found: Vec<Discovered>,
    /// What is there besides, by the kind that passed it over, in sentences.
    pub left_out: Vec<(Kind, String)>,
    /// Whether specs are silent about fields that they could say.
    pub silent: bool,
}

/// Finds all that kinds of a plugin could manage on a target; `None` where it looks for none of
/// them. No kinds are all of its kinds. Specs leave out what is as a new one would have it, unless `all_fields`
/// asks for that too.
///
/// # Errors
/// The plugin is not there, has no such kind, or failed.
pub async fn discover(
    runtime: &Runtime,
    target: &Name,
    plugin: &str,
    kinds: &[Kind],
    all_fields: bool,
) -> Result<Option<Discovery>, RunError> {
    let provider = runtime.plugins.provider(plugin, target).await?;
    crate::confirm::learned(runtime)?;
    let owned: BTreeSet<Identity> = runtime.store.inventory(target)?.into_iter().map(|entry| entry.identity).collect();
    let known = provider.describe().await?.kinds;
    for kind in kinds.iter().filter(|kind| kind.plugin() == plugin) {
        if !known.iter().any(|info| info.name == kind.short()) {
            let listed: Vec<&str> = known.iter().map(|info| info.name.as_str()).collect();
            let hint = format!("it has {}", listed.join(", "));
            return Err(RunError::selection(format!("plugin {plugin} has no kind {kind}"), Some(hint)));
        }
    }
    let mut all: Option<Discovery> = None;
    for info in known {
        let Ok(kind) = Kind::new(format!("{plugin}.{}", info.name)) else { continue };
        if !kinds.is_empty() && !kinds.contains(&kind) {
            continue;
        }
        if let Some(found) = provider.discover(&info.name).await? {
            let all = all.get_or_insert_default();
            let (left_out, found): (Vec<Found>, Vec<Found>) = found.into_iter().partition(|found| found.left_out);
            let remarks = left_out.into_iter().flat_map(|found| found.remarks);
            all.left_out.extend(remarks.map(|remark| (kind.clone(), remark)));
            let mut found = named(provider.as_ref(), &kind, found, &owned).await?;
            let sayable = Sayable::of(&info);
            if all_fields {
                filled(provider.as_ref(), &sayable, &mut found).await?;
            }
            all.silent |= !all_fields && found.iter().any(|one| sayable.is_silent(&one.spec));
            all.found.extend(found);
        }
    }
    Ok(all)
}

/// The field in which a spec says whether what it does not list is taken away, and its word for that.
const OWNS: (&str, &str) = ("owns", "all");

/// What a spec of a kind can say of what is seen.
struct Sayable<'i> {
    fields: Vec<&'i String>,
    owns: bool,
}

impl<'i> Sayable<'i> {
    fn of(info: &'i KindInfo) -> Self {
        let role = |name: &str| info.fields.iter().find(|field| field.path.strip_prefix('/') == Some(name));
        let seen = |name: &&String| role(name).is_none_or(|field| !field.roles.how && !field.roles.sensitive);
        let properties = info.schema.get("properties").and_then(Value::as_object);
        let fields = properties.into_iter().flat_map(|properties| properties.keys()).filter(seen).collect();
        Self { fields, owns: properties.is_some_and(|properties| properties.contains_key(OWNS.0)) }
    }

    fn is_silent(&self, spec: &Value) -> bool {
        (self.owns && spec.get(OWNS.0).is_none()) || self.fields.iter().any(|name| spec.get(name.as_str()).is_none())
    }
}

/// Says in each spec what a person would have left out: every field as it is seen, and that nothing is to
/// be there beside what is listed.
async fn filled(provider: &dyn Provider, sayable: &Sayable<'_>, found: &mut [Discovered]) -> Result<(), RunError> {
    let Sayable { fields, owns } = sayable;
    let subject = |found: &Discovered| Subject {
        identity: found.identity.clone(),
        kind: found.kind.clone(),
        handle: None,
        fields: fields.iter().map(|name| format!("/{name}")).collect(),
        commands: Vec::new(),
    };
    let subjects: Vec<Subject> = found.iter().map(subject).collect();
    let observed = provider.observe(&subjects).await?;
    let mut added: Vec<Vec<String>> = Vec::with_capacity(found.len());
    for (found, observation) in found.iter_mut().zip(observed) {
        let mut new = Vec::new();
        let Some(spec) = found.spec.as_object_mut() else {
            added.push(new);
            continue;
        };
        if let Observation::Present { observed: Value::Object(mut observed), .. } = observation {
            for name in fields.iter().filter(|name| !spec.contains_key(name.as_str())).collect::<Vec<_>>() {
                if let Some(value) = observed.remove(name.as_str()).filter(|value| !value.is_null()) {
                    spec.insert((*name).clone(), value);
                    new.push((*name).clone());
                }
            }
        }
        if *owns && !spec.contains_key(OWNS.0) {
            spec.insert(OWNS.0.to_owned(), OWNS.1.into());
            new.push(OWNS.0.to_owned());
        }
        added.push(new);
    }
    // What is seen and cannot be said stays out.
    let checked = provider.check(&declared(found)).await?;
    for ((found, added), checked) in found.iter_mut().zip(added).zip(checked) {
        for remark in checked.diagnostics.iter().filter(|remark| remark.severity == Severity::Error) {
            let field = remark.field.as_deref().and_then(|field| field.split('/').nth(1)).unwrap_or_default();
            if let Some(spec) = found.spec.as_object_mut().filter(|_| added.iter().any(|added| added == field)) {
                spec.remove(field);
            }
        }
    }
    Ok(())
}

fn declared(found: &[Discovered]) -> Vec<Declared> {
    let one = |found: &Discovered| Declared {
        address: format!("{}/{}", found.kind, found.name),
        kind: found.kind.clone(),
        spec: found.spec.clone(),
    };
    found.iter().map(one).collect()
}

/// Gives each a name that a file can hold, and asks the plugin what it is.
async fn named(
    provider: &dyn Provider,
    kind: &Kind,
    found: Vec<Found>,
    owned: &BTreeSet<Identity>,
) -> Result<Vec<Discovered>, RunError> {
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    let names: Vec<Name> = found
        .iter()
        .map(|found| unique(&found.name, &mut taken))
        .collect::<Result<_, _>>()
        .map_err(|error| Fault::new("invalid", Blame::Plugin, error.to_string()))?;
    let declared: Vec<Declared> = found
        .iter()
        .zip(&names)
        .map(|(found, name)| Declared {
            address: format!("{kind}/{name}"),
            kind: kind.clone(),
            spec: found.spec.clone(),
        })
        .collect();
    let checked = provider.check(&declared).await?;
    let each = found.into_iter().zip(names).zip(checked);
    Ok(each
        .map(|((found, name), checked)| Discovered {
            kind: kind.clone(),
            name,
            owned: owned.contains(&checked.identity),
            identity: checked.identity,
            spec: found.spec,
            remarks: found.remarks,
        })
        .collect())
}

/// A name out of what something is called: what a name cannot hold becomes a dash, and equal
/// ones get numbers.
fn unique(called: &str, taken: &mut BTreeMap<String, usize>) -> Result<Name, NameError> {
    let mut plain = String::new();
    for c in called.chars() {
        let c = if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
        if !(c == '-' && (plain.ends_with('-') || plain.is_empty())) {
            plain.push(c);
        }
    }
    plain.truncate(LONGEST);
    let plain = plain.trim_matches(['-', '.']).to_owned();
    let plain = if plain.is_empty() { "unnamed".to_owned() } else { plain };
    let mut name = plain.clone();
    while let Some(last) = taken.get_mut(&name) {
        *last += 1;
        name = format!("{plain}-{last}");
    }
    taken.insert(name.clone(), 1);
    Name::new(name)
}

/// Room for a number after a name.
const LONGEST: usize = 56;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_fit_and_unique() {
        let mut taken = BTreeMap::new();
        let mut name = |called: &str| unique(called, &mut taken).unwrap().to_string();
        assert_eq!(name("app"), "app");
        assert_eq!(name("app"), "app-2");
        assert_eq!(name("app"), "app-3");
        assert_eq!(name("app-2"), "app-2-2");
        assert_eq!(name("my \"odd\" name"), "my-odd-name");
        assert_eq!(name("ä/@"), "unnamed");
        assert_eq!(name(&"x".repeat(200)).len(), LONGEST);
    }
}
