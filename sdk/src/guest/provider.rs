//! A [`Provider`] behind the exports of the provider's world.

use std::marker::PhantomData;

use super::bindings::provider::exports::tidelock::provider::discover as wit_discover;
use super::bindings::provider::exports::tidelock::provider::provider as wit;
use super::bindings::provider::tidelock::types::types;
use super::host::{MachinePort, ProposePort, error_out};
use super::panic;
use crate::change::{Action, Step};
use crate::error::{Diagnostic, Severity};
use crate::field::{Field, Roles};
use crate::kind::{Found, KindDescription};
use crate::machine::Machine;
use crate::observation::{Observation, Readiness, Subject};
use crate::provider::{self, AnyChange, Declared, Provider};

/// The exports of a provider.
pub struct Provided<P>(PhantomData<P>);

fn machine() -> Machine<'static> {
    Machine::new(MachinePort(PhantomData))
}

impl<P: Provider> wit::Guest for Provided<P> {
    fn describe() -> wit::Description {
        panic::hook();
        let described = provider::describe::<P>();
        wit::Description {
            name: described.name,
            version: described.version,
            summary: described.summary,
            kinds: described.kinds.into_iter().map(kind_out).collect(),
            extras: Vec::new(),
        }
    }

    fn check(resources: Vec<wit::Declared>) -> Result<Vec<wit::Checked>, wit::Error> {
        panic::hook();
        let resources: Vec<Declared> = resources.into_iter().map(declared_in).collect();
        let each = |checked: provider::Checked| wit::Checked {
            identity: checked.identity,
            provides: checked.provides,
            requires: checked.requires,
            diagnostics: checked.diagnostics.into_iter().map(diagnostic_out).collect(),
            extras: checked.parts.into_iter().map(|identity| ("part".to_owned(), identity)).collect(),
        };
        Ok(provider::check::<P>(&resources).into_iter().map(each).collect())
    }

    fn normalise(resources: Vec<wit::Declared>) -> Result<Vec<Result<String, wit::Error>>, wit::Error> {
        panic::hook();
        let resources: Vec<Declared> = resources.into_iter().map(declared_in).collect();
        let answers = provider::normalise::<P>(&resources, &machine());
        Ok(answers.into_iter().map(|answer| answer.map_err(error_out)).collect())
    }

    fn observe(subjects: Vec<wit::Subject>) -> Result<Vec<wit::Observation>, wit::Error> {
        panic::hook();
        let each = |subject: wit::Subject| Subject {
            identity: subject.identity,
            kind: subject.kind,
            handle: subject.handle,
            fields: subject.fields,
        };
        let subjects = subjects.into_iter().map(each).collect();
        let seen = provider::observe::<P>(subjects, &machine()).map_err(error_out)?;
        Ok(seen.into_iter().map(observation_out).collect())
    }

    fn steps(changes: Vec<wit::Change>) -> Result<Vec<wit::Step>, wit::Error> {
        panic::hook();
        let changes: Vec<AnyChange> = changes.into_iter().map(change_in).collect();
        let steps = provider::steps::<P>(&changes, &machine(), ProposePort(PhantomData));
        Ok(steps.into_iter().map(step_out).collect())
    }
}

/// What one page holds: far below what one host call may carry.
const PAGE: usize = 500;

impl<P: Provider> wit_discover::Guest for Provided<P> {
    fn discover(kind: String, after: Option<String>) -> Result<wit_discover::Page, wit_discover::Error> {
        panic::hook();
        let found = provider::discover::<P>(&kind, &machine()).map_err(error_out)?;
        let start: usize = after.and_then(|after| after.parse().ok()).unwrap_or(0);
        let end = start.saturating_add(PAGE).min(found.len());
        let next = (end < found.len()).then(|| end.to_string());
        let page = found.into_iter().skip(start).take(PAGE);
        let each = |found: Found| {
            let (name, spec, extras) = match found.spec.is_null() {
                true => ("left out".to_owned(), "{}".to_owned(), vec![("left-out".to_owned(), "true".to_owned())]),
                false => (found.name, found.spec.to_string(), Vec::new()),
            };
            wit_discover::Found { name, spec, remarks: found.remarks, extras }
        };
        Ok(wit_discover::Page { found: page.map(each).collect(), next })
    }
}

fn declared_in(declared: wit::Declared) -> Declared {
    Declared { address: declared.address, kind: declared.kind, spec: declared.spec }
}

fn change_in(change: wit::Change) -> AnyChange {
    AnyChange {
        id: change.id,
        address: change.address,
        identity: change.identity,
        kind: change.kind,
        action: match change.action {
            wit::Action::Create => Action::Create,
            wit::Action::Update => Action::Update,
            wit::Action::Replace => Action::Replace,
            wit::Action::Delete => Action::Delete,
            wit::Action::TakeOver => Action::TakeOver,
            wit::Action::Trigger => Action::Trigger,
        },
        desired: change.desired,
        observed: change.observed,
        last: change.last,
        handle: change.handle,
        fields: change.fields,
        seen: change.seen,
        trigger: change.trigger,
        part: change.extras.iter().any(|(key, _)| key == "part"),
    }
}

fn kind_out(kind: KindDescription) -> wit::Kind {
    wit::Kind {
        name: kind.name,
        doc: kind.doc,
        schema: kind.schema.to_string(),
        fields: kind.fields.into_iter().map(field_out).collect(),
        holds_data: kind.holds_data,
        whole_target: kind.whole_target,
        settle_ms: kind.settle_ms,
        triggers: kind.triggers,
        extras: Vec::new(),
    }
}

fn field_out(field: Field) -> wit::Field {
    wit::Field {
        path: field.path,
        roles: roles_out(field.roles),
        list_key: field.list_key,
        owns_listed: field.owns_listed,
        default: field.default.map(|value| value.to_string()),
        extras: Vec::new(),
    }
}

fn roles_out(roles: Roles) -> wit::Role {
    let named = [
        (roles.immutable, wit::Role::IMMUTABLE),
        (roles.sensitive, wit::Role::SENSITIVE),
        (roles.write_only, wit::Role::WRITE_ONLY),
        (roles.content, wit::Role::CONTENT),
        (roles.strays, wit::Role::STRAYS),
        (roles.how, wit::Role::HOW),
        (roles.text, wit::Role::TEXT),
    ];
    named.into_iter().filter(|(on, _)| *on).fold(wit::Role::empty(), |all, (_, role)| all | role)
}

fn diagnostic_out(remark: Diagnostic) -> types::Diagnostic {
    types::Diagnostic {
        severity: match remark.severity {
            Severity::Error => types::Severity::Error,
            Severity::Warning => types::Severity::Warning,
        },
        message: remark.message,
        field: remark.field,
        hint: remark.hint,
        extras: Vec::new(),
    }
}

fn observation_out(observation: Observation) -> wit::Observation {
    match observation {
        Observation::Present(present) => wit::Observation::Present(wit::Present {
            observed: present.observed.to_string(),
            unknown: present.unknown,
            handle: present.handle,
            readiness: match present.readiness {
                Readiness::Ready => wit::Readiness::Ready,
                Readiness::Settling => wit::Readiness::Settling,
                Readiness::Broken => wit::Readiness::Broken,
            },
            seen: present.seen,
            probes: present
                .probes
                .into_iter()
                .map(|probe| wit::SecretProbe { field: probe.field, method: probe.method, material: probe.material })
                .collect(),
            extras: Vec::new(),
        }),
        Observation::Absent(seen) => wit::Observation::Absent(seen),
        Observation::Waits { on, why } => wit::Observation::Waits(wit::Waits { on, why }),
        Observation::Failed(error) => wit::Observation::Failed(error_out(error)),
    }
}

fn step_out(step: Step) -> wit::Step {
    match step {
        Step::Proposed => wit::Step::Proposed,
        Step::NeedsReplace(fields) => wit::Step::NeedsReplace(fields),
        Step::Waits { on, why } => wit::Step::Waits(wit::Waits { on, why }),
        Step::Refused(error) => wit::Step::Refused(error_out(error)),
    }
}
