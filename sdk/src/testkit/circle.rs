//! The circle: what the runtime does with a provider, in small. One pass over a few
//! resources, without gate, groups or order by edges.

use serde_json::Value;

use super::host::ProposePort;
use super::machine::Machine;
use super::perform::Proposal;
use crate::change::{Action, Step};
use crate::error::{Error, Severity};
use crate::kind::KindDescription;
use crate::observation::{Observation, Subject, covers};
use crate::provider::{self, AnyChange, Checked, Declared, Provider};

/// A resource as declared: `declared("server.file/motd", json!({...}))`.
///
/// # Panics
/// The address has no `/`.
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "tests write json! in place")]
pub fn declared(address: &str, spec: Value) -> Declared {
    let (kind, _) = address.split_once('/').expect("an address is kind/name");
    Declared { address: address.to_owned(), kind: kind.to_owned(), spec: spec.to_string() }
}

/// A resource on its way round.
#[derive(Debug, Clone, PartialEq)]
pub struct Circle {
    /// The resource, contents replaced.
    pub declared: Declared,
    /// What `check` said.
    pub checked: Checked,
    /// The normalised spec.
    pub desired: Value,
    /// What was seen.
    pub observed: Observation,
    /// What differs, as JSON pointers; all of it where the resource is absent.
    pub fields: Vec<String>,
}

impl Machine {
    /// Replaces contents (`content: "text"`) as the host does, defaults filled in.
    #[must_use]
    pub fn resolve<P: Provider>(&self, declared: &Declared) -> Declared {
        let mut spec: Value = serde_json::from_str(&declared.spec).unwrap_or_default();
        for field in kind_of::<P>(&declared.kind).map(|kind| kind.fields).unwrap_or_default() {
            if let (Some(value), Some(key), Some(object)) =
                (&field.default, field.path.strip_prefix('/'), spec.as_object_mut())
            {
                object.entry(key).or_insert_with(|| value.clone());
            }
            if let Some(value) = spec.pointer_mut(&field.path).filter(|_| field.roles.content)
                && let Some(text) = value.as_str()
            {
                let content = self.keep(text.as_bytes());
                *value = serde_json::json!({ "digest": content.digest, "size": content.size });
            }
        }
        Declared { spec: spec.to_string(), ..declared.clone() }
    }

    /// Check, normalise, observe and compare.
    ///
    /// # Errors
    /// The first error that a stage gave.
    pub fn look<P: Provider>(&self, resources: &[Declared]) -> Result<Vec<Circle>, Error> {
        let resources: Vec<Declared> = resources.iter().map(|declared| self.resolve::<P>(declared)).collect();
        let checked = provider::check::<P>(&resources);
        for remark in checked.iter().flat_map(|checked| &checked.diagnostics) {
            if remark.severity == Severity::Error {
                return Err(Error { field: remark.field.clone(), ..Error::target("invalid", &remark.message) });
            }
        }
        let desired = self.normalised::<P>(&resources)?;
        let subjects = resources.iter().zip(&checked).zip(&desired).map(|((declared, checked), desired)| Subject {
            identity: checked.identity.clone(),
            kind: declared.kind.clone(),
            handle: None,
            fields: compared::<P>(&declared.kind, desired),
        });
        let subjects: Vec<Subject> = subjects.collect();
        let seen = provider::observe::<P>(subjects.clone(), &self.eyes())?;
        let owned: Vec<String> = checked.iter().map(|checked| checked.identity.clone()).collect();
        let mut circles = Vec::new();
        for (at, mut observed) in seen.into_iter().enumerate() {
            spare::<P>(&resources[at].kind, &owned, &checked[at].identity, &mut observed);
            let fields = match &observed {
                Observation::Present(present) => {
                    let probed = |field: &str| present.probes.iter().any(|probe| covers(&probe.field, field));
                    let differs = |field: &&String| {
                        let (seen, wanted) = (present.observed.pointer(field), desired[at].pointer(field));
                        seen != wanted.filter(|wanted| !wanted.is_null()) && !probed(field)
                    };
                    subjects[at].fields.iter().filter(differs).cloned().collect()
                }
                Observation::Absent(_) => subjects[at].fields.clone(),
                Observation::Waits { why, .. } => return Err(Error::target("waits", why)),
                Observation::Failed(error) => return Err(error.clone()),
            };
            circles.push(Circle {
                declared: resources[at].clone(),
                checked: checked[at].clone(),
                desired: desired[at].clone(),
                observed,
                fields,
            });
        }
        Ok(circles)
    }

    /// Goes round once and performs what was proposed. A second [`Machine::look`] finds
    /// nothing left, or this says which field it is.
    ///
    /// # Errors
    /// The first error that a stage gave, a refusal, or a field that still differs.
    pub fn converge<P: Provider>(&self, resources: &[Declared]) -> Result<Vec<Proposal>, Error> {
        let mut changes = Vec::new();
        for (id, circle) in (1..).zip(self.look::<P>(resources)?) {
            let (action, observed, seen) = match circle.observed {
                Observation::Present(_) if circle.fields.is_empty() => continue,
                Observation::Present(present) => {
                    let anew = circle.fields.iter().any(|field| immutable::<P>(&circle.declared.kind, field));
                    let action = if anew { Action::Replace } else { Action::Update };
                    (action, Some(present.observed.to_string()), present.seen)
                }
                Observation::Absent(seen) => (Action::Create, None, seen),
                _ => continue,
            };
            changes.push(AnyChange {
                id,
                address: circle.declared.address,
                identity: circle.checked.identity,
                kind: circle.declared.kind,
                action,
                desired: Some(circle.desired.to_string()),
                observed,
                last: None,
                handle: None,
                fields: circle.fields,
                seen,
                trigger: None,
                part: false,
            });
        }
        let proposals = self.take_steps::<P>(changes)?;
        for circle in self.look::<P>(resources)? {
            if let Some(field) = circle.fields.first() {
                let message = format!("{} still differs at {field} after its effects", circle.declared.address);
                return Err(Error::plugin(message));
            }
        }
        Ok(proposals)
    }

    /// Removes a resource that was applied, from `last` alone.
    ///
    /// # Errors
    /// As [`Machine::converge`].
    pub fn delete<P: Provider>(&self, resource: &Declared) -> Result<Vec<Proposal>, Error> {
        let circles = self.look::<P>(std::slice::from_ref(resource))?;
        let changes = circles.into_iter().filter_map(|circle| {
            let Observation::Present(present) = circle.observed else { return None };
            Some(AnyChange {
                id: 1,
                address: circle.declared.address,
                identity: circle.checked.identity,
                kind: circle.declared.kind,
                action: Action::Delete,
                desired: None,
                observed: Some(present.observed.to_string()),
                last: Some(circle.desired.to_string()),
                handle: None,
                fields: Vec::new(),
                seen: present.seen,
                trigger: None,
                part: false,
            })
        });
        self.take_steps::<P>(changes.collect())
    }

    /// Does what a `notify` asks of a resource.
    ///
    /// # Errors
    /// As [`Machine::converge`].
    pub fn trigger<P: Provider>(&self, resource: &Declared, ask: &str) -> Result<Vec<Proposal>, Error> {
        let resource = self.resolve::<P>(resource);
        let checked = provider::check::<P>(std::slice::from_ref(&resource));
        let desired = self.normalised::<P>(std::slice::from_ref(&resource))?;
        let changes = checked.into_iter().zip(desired).map(|(checked, desired)| AnyChange {
            id: 1,
            address: resource.address.clone(),
            identity: checked.identity,
            kind: resource.kind.clone(),
            action: Action::Trigger,
            desired: Some(desired.to_string()),
            observed: None,
            last: None,
            handle: None,
            fields: Vec::new(),
            seen: Vec::new(),
            trigger: Some(ask.to_owned()),
            part: false,
        });
        self.take_steps::<P>(changes.collect())
    }

    /// Hands changes to `steps` and performs what is proposed.
    ///
    /// # Errors
    /// A refusal, or an effect that cannot be done.
    pub fn take_steps<P: Provider>(&self, changes: Vec<AnyChange>) -> Result<Vec<Proposal>, Error> {
        let steps = provider::steps::<P>(&changes, &self.eyes(), ProposePort(self));
        let proposals = self.proposals();
        for (AnyChange { address, .. }, step) in changes.into_iter().zip(steps) {
            match step {
                Step::Proposed => {}
                Step::Refused(error) => return Err(error),
                Step::NeedsReplace(fields) => {
                    return Err(Error::target(
                        "replace",
                        format!("{address} needs a new one for {}", fields.join(", ")),
                    ));
                }
                Step::Waits { why, .. } => return Err(Error::target("waits", why)),
            }
        }
        self.perform(&proposals)?;
        Ok(proposals)
    }

    /// Normalises, and again: the answer to an answer must be itself.
    fn normalised<P: Provider>(&self, resources: &[Declared]) -> Result<Vec<Value>, Error> {
        let once = provider::normalise::<P>(resources, &self.eyes()).into_iter().collect::<Result<Vec<_>, _>>()?;
        let again: Vec<Declared> = resources
            .iter()
            .zip(&once)
            .map(|(declared, spec)| Declared { spec: spec.clone(), ..declared.clone() })
            .collect();
        let twice = provider::normalise::<P>(&again, &self.eyes()).into_iter().collect::<Result<Vec<_>, _>>()?;
        if let Some((first, second)) = once.iter().zip(&twice).find(|(first, second)| first != second) {
            return Err(Error::plugin(format!("normalise does not repeat: {first} became {second}")));
        }
        once.iter()
            .map(|spec| serde_json::from_str(spec).map_err(|error| Error::plugin(format!("not JSON: {error}"))))
            .collect()
    }
}

fn kind_of<P: Provider>(kind: &str) -> Option<KindDescription> {
    let short = kind.strip_prefix(P::NAME)?.strip_prefix('.')?;
    provider::describe::<P>().kinds.into_iter().find(|described| described.name == short)
}

/// Whether another value of a field takes another resource.
fn immutable<P: Provider>(kind: &str, pointer: &str) -> bool {
    let fields = kind_of::<P>(kind).map(|kind| kind.fields).unwrap_or_default();
    fields.iter().any(|field| field.roles.immutable && means(&field.path, pointer))
}

/// Whether a field's path, in which `*` stands for any one part, means what is at a pointer, or above it.
fn means(path: &str, pointer: &str) -> bool {
    let mut parts = pointer.split('/');
    path.split('/').all(|wanted| parts.next().is_some_and(|part| wanted == "*" || wanted == part))
}

/// Pointers of the fields that are compared: all that the spec holds, but those that say how.
fn compared<P: Provider>(kind: &str, desired: &Value) -> Vec<String> {
    let fields = kind_of::<P>(kind).map(|kind| kind.fields).unwrap_or_default();
    let how = |pointer: &str| fields.iter().any(|field| field.roles.how && means(&field.path, pointer));
    let content = |pointer: &str| fields.iter().any(|field| field.roles.content && field.path == pointer);
    let mut leaves = Vec::new();
    walk(desired, String::new(), &content, &mut leaves);
    leaves.retain(|pointer| !pointer.is_empty() && !how(pointer));
    leaves
}

/// Pointers of all leaves: lists and empty objects are leaves, and so are contents.
fn walk(value: &Value, at: String, content: &dyn Fn(&str) -> bool, out: &mut Vec<String>) {
    match value {
        Value::Object(map) if at.is_empty() || (!map.is_empty() && !content(&at)) => {
            for (key, value) in map {
                walk(value, format!("{at}/{}", crate::spec::escape(key)), content, out);
            }
        }
        _ => out.push(at),
    }
}

/// Takes out of the strays what is owned, and what lies above or below it.
fn spare<P: Provider>(kind: &str, owned: &[String], own: &str, observation: &mut Observation) {
    let Observation::Present(present) = observation else { return };
    for field in kind_of::<P>(kind).map(|kind| kind.fields).unwrap_or_default() {
        if let Some(strays) = present.observed.pointer_mut(&field.path).filter(|_| field.roles.strays)
            && let Some(list) = strays.as_array_mut()
        {
            list.retain(|stray| {
                let stray = stray.as_str().unwrap_or_default();
                !owned.iter().any(|owned| owned != own && (covers(owned, stray) || covers(stray, owned)))
            });
        }
    }
}
