//! A provider: kinds under one name, and the calls of the host sorted by kind.
//!
//! The functions below are what a component exports. They know nothing of Wasm, so
//! that the test kit calls the very same ones.

use std::collections::BTreeMap;

use crate::change::{Action, Step};
use crate::effect::Proposals;
use crate::error::{Diagnostic, Error, nearest};
use crate::host::ProposePort;
use crate::kind::{AnyKind, Found, KindDescription, Kinds};
use crate::machine::Machine;
use crate::observation::{Observation, Subject};

/// A provider: a name and its kinds. Export it with
/// [`register_provider!`](crate::register_provider).
pub trait Provider: 'static {
    /// The part before the dot: `server` of `server.file`.
    const NAME: &'static str;
    /// The plugin's own version, usually `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;
    /// One line for people.
    const SUMMARY: &'static str;

    /// Its kinds.
    fn kinds() -> Kinds;

    /// Remarks that only several resources together give, such as two kinds that set one thing: the
    /// place in the list of the resource that each is about, and the remark. The list is of one
    /// stack and target; one of more than a thousand comes in parts.
    fn check_together(_resources: &[Declared]) -> Vec<(usize, Diagnostic)> {
        Vec::new()
    }
}

/// A provider, described.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// The part before the dot.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// One line for people.
    pub summary: String,
    /// Its kinds.
    pub kinds: Vec<KindDescription>,
}

/// A resource as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// `kind/name`.
    pub address: String,
    /// `server.file`.
    pub kind: String,
    /// The spec as JSON.
    pub spec: String,
}

/// What a plugin says of a declared resource, without looking at any target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// What the resource is on its target.
    pub identity: String,
    /// Identities that exist once this one does.
    pub provides: Vec<String>,
    /// Identities that must exist before this one.
    pub requires: Vec<String>,
    /// Identities of what the spec speaks for besides its own.
    pub parts: Vec<String>,
    /// Remarks.
    pub diagnostics: Vec<Diagnostic>,
}

impl Checked {
    /// A spec that could not be read has no natural key; its address stands in, so that
    /// two of them are not taken for the same thing.
    pub(crate) fn unreadable(address: &str, diagnostics: Vec<Diagnostic>) -> Self {
        Self {
            identity: format!("unreadable:{address}"),
            provides: Vec::new(),
            requires: Vec::new(),
            parts: Vec::new(),
            diagnostics,
        }
    }
}

/// A change whose specs are still text.
#[derive(Debug, Clone, PartialEq)]
pub struct AnyChange {
    /// Given back with each effect.
    pub id: u32,
    /// `kind/name`.
    pub address: String,
    /// What it is on its target.
    pub identity: String,
    /// Its kind.
    pub kind: String,
    /// What is to become of it.
    pub action: Action,
    /// The normalised desired spec.
    pub desired: Option<String>,
    /// The observed spec.
    pub observed: Option<String>,
    /// What was last applied.
    pub last: Option<String>,
    /// The target's own id.
    pub handle: Option<String>,
    /// Fields that differ.
    pub fields: Vec<String>,
    /// Tokens that `observe` gave.
    pub seen: Vec<String>,
    /// For a trigger: what is asked.
    pub trigger: Option<String>,
    /// Whether the host asks about other changes of the same plan in other calls: what is in no change of this
    /// one may be in another.
    pub part: bool,
}

/// Describes a provider. No reads.
#[must_use]
pub fn describe<P: Provider>() -> Description {
    Description {
        name: P::NAME.to_owned(),
        version: P::VERSION.to_owned(),
        summary: P::SUMMARY.to_owned(),
        kinds: P::kinds().iter().map(AnyKind::describe).collect(),
    }
}

/// Says what each resource is. No reads. Answers in the order of the question.
#[must_use]
pub fn check<P: Provider>(resources: &[Declared]) -> Vec<Checked> {
    let kinds = P::kinds();
    let each = |declared: &Declared| match kinds.find(P::NAME, &declared.kind) {
        Some(kind) => kind.check(declared),
        None => Checked::unreadable(&declared.address, vec![unknown_kind::<P>(&kinds, &declared.kind)]),
    };
    let mut checked: Vec<Checked> = resources.iter().map(each).collect();
    for (at, remark) in P::check_together(resources) {
        if let Some(checked) = checked.get_mut(at) {
            checked.diagnostics.push(remark);
        }
    }
    checked
}

/// Spells each spec as the target would. Answers in the order of the question.
#[must_use]
pub fn normalise<P: Provider>(resources: &[Declared], machine: &Machine<'_>) -> Vec<Result<String, Error>> {
    let kinds = P::kinds();
    let each = |declared: &Declared| match kinds.find(P::NAME, &declared.kind) {
        Some(kind) => kind.normalise(declared, machine),
        None => Err(not_ours::<P>(&kinds, &declared.kind)),
    };
    resources.iter().map(each).collect()
}

/// Looks: one call of [`Kind::observe`](crate::Kind::observe) for each kind in the list.
/// Answers in the order of the question.
///
/// # Errors
/// The reads of a kind failed as a whole.
pub fn observe<P: Provider>(subjects: Vec<Subject>, machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
    let kinds = P::kinds();
    let mut answers: Vec<Option<Observation>> = Vec::new();
    answers.resize_with(subjects.len(), || None);
    let mut by_kind: BTreeMap<String, (Vec<usize>, Vec<Subject>)> = BTreeMap::new();
    for (at, subject) in subjects.into_iter().enumerate() {
        let (places, of_kind) = by_kind.entry(subject.kind.clone()).or_default();
        places.push(at);
        of_kind.push(subject);
    }
    for (name, (places, of_kind)) in by_kind {
        let seen = match kinds.find(P::NAME, &name) {
            Some(kind) => kind.observe(&of_kind, machine)?,
            None => of_kind.iter().map(|_| Observation::Failed(not_ours::<P>(&kinds, &name))).collect(),
        };
        for (at, observation) in places.into_iter().zip(seen) {
            answers[at] = Some(observation);
        }
    }
    let unanswered = || Observation::Failed(Error::plugin("no answer for this resource"));
    Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(unanswered)).collect())
}

/// Finds all that a kind could stand for.
///
/// # Errors
/// `unsupported` where the kind does not look for it; its reads failed.
pub fn discover<P: Provider>(kind: &str, machine: &Machine<'_>) -> Result<Vec<Found>, Error> {
    let kinds = P::kinds();
    let full = format!("{}.{kind}", P::NAME);
    let of_kind = kinds.find(P::NAME, &full).ok_or_else(|| not_ours::<P>(&kinds, &full))?;
    let found = of_kind.discover(machine)?;
    found.ok_or_else(|| Error::target("unsupported", format!("{full} does not look for what is there")))
}

/// Proposes effects for each change. Answers in the order of the question.
pub(crate) fn steps<P: Provider>(changes: &[AnyChange], machine: &Machine<'_>, port: ProposePort<'_>) -> Vec<Step> {
    let kinds = P::kinds();
    let each = |change: &AnyChange| match kinds.find(P::NAME, &change.kind) {
        Some(kind) => {
            let propose = Proposals::new(port, change.id, change.seen.first(), changes);
            kind.step(change.clone(), machine, &propose)
        }
        None => Step::Refused(not_ours::<P>(&kinds, &change.kind)),
    };
    changes.iter().map(each).collect()
}

fn unknown_kind<P: Provider>(kinds: &Kinds, kind: &str) -> Diagnostic {
    let known: Vec<String> = kinds.iter().map(|kind| format!("{}.{}", P::NAME, kind.name())).collect();
    let remark = Diagnostic::error(format!("there is no kind `{kind}`"));
    match nearest(kind, known.iter().map(String::as_str)) {
        Some(name) => remark.hint(format!("did you mean `{name}`?")),
        None => remark.hint(format!("the kinds are {}", known.join(", "))),
    }
}

fn not_ours<P: Provider>(kinds: &Kinds, kind: &str) -> Error {
    Error::target("not-found", unknown_kind::<P>(kinds, kind).message)
}
