//! A kind of resource: one typed spec, and what to do with it.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::change::{Change, Step};
use crate::effect::Proposals;
use crate::error::{Diagnostic, Error, Severity};
use crate::field::Field;
use crate::machine::Machine;
use crate::observation::{Observation, Subject};
use crate::provider::{AnyChange, Checked, Declared};
use crate::spec;

/// A kind of resource.
///
/// The methods are stages, in this order: `check` and its neighbours look at the spec
/// alone, `normalise` spells it as the target would, `observe` looks, `steps` proposes.
/// What comes of one stage reaches the next through the host, never through the plugin.
pub trait Kind: 'static {
    /// The `spec:` of a resource. Derive `Deserialize` with `deny_unknown_fields`, so that
    /// a misspelt key is found; skip absent fields when serialising, for an absent field
    /// is one that nobody manages.
    type Spec: Serialize + DeserializeOwned + JsonSchema;

    /// The part after the dot: `file` of `server.file`.
    const NAME: &'static str;
    /// A paragraph for people.
    const DOC: &'static str;
    /// Whether deleting one loses something that Git does not have.
    const HOLDS_DATA: bool = false;
    /// Whether all resources of the kind on a target must be seen in one call.
    const WHOLE_TARGET: bool = false;
    /// How long a new resource may take to be as desired, in milliseconds.
    const SETTLE_MS: u32 = 0;
    /// What `notify` may ask of a resource of this kind.
    const TRIGGERS: &'static [&'static str] = &[];

    /// Fields that need more than the schema says.
    #[must_use]
    fn fields() -> Vec<Field> {
        Vec::new()
    }

    /// What the resource is on its target, whatever its name: `path:/etc/motd`.
    fn identity(spec: &Self::Spec) -> String;

    /// Identities that must exist before this one. Those that nobody provides are passed over.
    fn requires(_spec: &Self::Spec) -> Vec<String> {
        Vec::new()
    }

    /// Identities, besides its own, that exist once this one does.
    fn provides(_spec: &Self::Spec) -> Vec<String> {
        Vec::new()
    }

    /// Identities, besides its own, of what the spec speaks for and a resource of another kind could
    /// speak for, too: a setting among those of a role. No other resource may have one of them.
    #[must_use]
    fn parts(_spec: &Self::Spec) -> Vec<String> {
        Vec::new()
    }

    /// Remarks on a spec that could be read.
    fn check(_spec: &Self::Spec) -> Vec<Diagnostic> {
        Vec::new()
    }

    /// Spells a spec as the target would. May read; must repeat: the same spec gives the
    /// same answer, and its own answer gives itself.
    ///
    /// # Errors
    /// The target has no such spelling, as for a user that it does not know.
    fn normalise(spec: Self::Spec, _machine: &Machine<'_>) -> Result<Self::Spec, Error> {
        Ok(spec)
    }

    /// Looks at many resources at once, with as few reads as it can; one answer for each,
    /// in the order of the question. Must not depend on how the host splits a list.
    ///
    /// # Errors
    /// The reads as a whole failed; what concerns one subject is [`Observation::Failed`].
    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error>;

    /// All that is on the target and a resource of this kind could stand for, each with the spec
    /// that a person would write: what `tidelock import` gives. None where the kind does not
    /// look for such. What a system makes for itself is left out.
    ///
    /// # Errors
    /// The reads failed.
    fn discover(_machine: &Machine<'_>) -> Result<Option<Vec<Found>>, Error> {
        Ok(None)
    }

    /// Proposes the effects of one change.
    ///
    /// # Errors
    /// It cannot be done; the same as [`Step::Refused`].
    fn steps(change: &Change<Self::Spec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error>;
}

/// Something on a target that a kind is for.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// What it is called, such as the name of a role.
    pub name: String,
    /// The spec, without what is as a new one would be.
    pub spec: Value,
    /// What of it no spec can say, such as a password that nobody can read.
    pub remarks: Vec<String>,
}

impl Found {
    /// Something that is there and that no resource of the kind could stand for: a person is told of it, and
    /// that is all.
    #[must_use]
    pub fn left_out(remark: impl Into<String>) -> Self {
        Self { name: String::new(), spec: Value::Null, remarks: vec![remark.into()] }
    }
}

/// A kind, described.
#[derive(Debug, Clone, PartialEq)]
pub struct KindDescription {
    /// The part after the dot.
    pub name: String,
    /// A paragraph for people.
    pub doc: String,
    /// JSON Schema of the spec.
    pub schema: Value,
    /// Fields that need more than the schema says.
    pub fields: Vec<Field>,
    /// Whether deleting one loses something that Git does not have.
    pub holds_data: bool,
    /// Whether all must be seen in one call.
    pub whole_target: bool,
    /// How long a new one may take, in milliseconds.
    pub settle_ms: u32,
    /// What `notify` may ask.
    pub triggers: Vec<String>,
}

/// A kind without its spec's type, so that kinds of one provider share a list.
pub(crate) trait AnyKind {
    fn name(&self) -> &'static str;
    fn describe(&self) -> KindDescription;
    fn check(&self, declared: &Declared) -> Checked;
    fn normalise(&self, declared: &Declared, machine: &Machine<'_>) -> Result<String, Error>;
    fn observe(&self, subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error>;
    fn discover(&self, machine: &Machine<'_>) -> Result<Option<Vec<Found>>, Error>;
    fn step(&self, change: AnyChange, machine: &Machine<'_>, propose: &Proposals<'_>) -> Step;
}

struct Typed<K>(std::marker::PhantomData<K>);

impl<K: Kind> AnyKind for Typed<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn describe(&self) -> KindDescription {
        KindDescription {
            name: K::NAME.to_owned(),
            doc: K::DOC.to_owned(),
            schema: schemars::schema_for!(K::Spec).to_value(),
            fields: K::fields(),
            holds_data: K::HOLDS_DATA,
            whole_target: K::WHOLE_TARGET,
            settle_ms: K::SETTLE_MS,
            triggers: K::TRIGGERS.iter().map(ToString::to_string).collect(),
        }
    }

    fn check(&self, declared: &Declared) -> Checked {
        match spec::read::<K::Spec>(&declared.spec) {
            Ok(spec) => Checked {
                identity: K::identity(&spec),
                provides: K::provides(&spec),
                requires: K::requires(&spec),
                parts: K::parts(&spec),
                diagnostics: K::check(&spec),
            },
            Err(diagnostics) => Checked::unreadable(&declared.address, diagnostics),
        }
    }

    fn normalise(&self, declared: &Declared, machine: &Machine<'_>) -> Result<String, Error> {
        let spec = K::normalise(read(&declared.spec)?, machine)?;
        serde_json::to_string(&spec).map_err(|error| Error::plugin(format!("the spec cannot be written: {error}")))
    }

    fn observe(&self, subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        let seen = K::observe(subjects, machine)?;
        if seen.len() == subjects.len() {
            return Ok(seen);
        }
        Err(Error::plugin(format!("kind {}: {} subjects gave {} observations", K::NAME, subjects.len(), seen.len())))
    }

    fn discover(&self, machine: &Machine<'_>) -> Result<Option<Vec<Found>>, Error> {
        K::discover(machine)
    }

    fn step(&self, change: AnyChange, machine: &Machine<'_>, propose: &Proposals<'_>) -> Step {
        let typed = || -> Result<Change<K::Spec>, Error> {
            let json = |text: Option<String>| {
                text.map(|text| serde_json::from_str(&text))
                    .transpose()
                    .map_err(|error| Error::plugin(format!("a spec is not JSON: {error}")))
            };
            Ok(Change {
                id: change.id,
                address: change.address,
                identity: change.identity,
                kind: change.kind,
                action: change.action,
                desired: change.desired.as_deref().map(read).transpose()?,
                observed: json(change.observed)?,
                last: json(change.last)?,
                handle: change.handle,
                fields: change.fields,
                seen: change.seen,
                trigger: change.trigger,
            })
        };
        typed().and_then(|change| K::steps(&change, machine, propose)).unwrap_or_else(Step::Refused)
    }
}

fn read<S: DeserializeOwned>(json: &str) -> Result<S, Error> {
    spec::read(json).map_err(|remarks| {
        let first = remarks.into_iter().find(|remark| remark.severity == Severity::Error);
        match first {
            Some(remark) => Error { field: remark.field, ..Error::target("invalid", remark.message) },
            None => Error::plugin("the spec cannot be read"),
        }
    })
}

/// The kinds of a provider.
#[derive(Default)]
pub struct Kinds(Vec<Box<dyn AnyKind>>);

impl Kinds {
    /// No kinds yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind.
    #[must_use]
    pub fn with<K: Kind>(mut self) -> Self {
        self.0.push(Box::new(Typed::<K>(std::marker::PhantomData)));
        self
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn AnyKind> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// The kind of a full name, such as `server.file`, of the provider `provider`.
    pub(crate) fn find(&self, provider: &str, kind: &str) -> Option<&dyn AnyKind> {
        let short = kind.strip_prefix(provider)?.strip_prefix('.')?;
        self.iter().find(|kind| kind.name() == short)
    }
}
