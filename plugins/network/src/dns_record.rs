//! `network.dns-record`: all records of one name and type in a zone, by updates with
//! prerequisites: what somebody else changed meanwhile is not overwritten.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidelock_sdk::effect::dns::{put_records, remove_records};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::serde_json::{self, Value};
use tidelock_sdk::{
    Action, Change, Diagnostic, Error, Field, Kind, Machine, Observation, Proposals, Records, Step, Subject,
};

use crate::domain::{absolute, owner};
use crate::spelling::bad;

/// Types that can be managed, as `wit/dns` lists them.
const TYPES: [&str; 9] = ["A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SRV", "TXT"];
const ALIAS: &str = "CNAME";
/// Seconds that others may keep a record where the spec says nothing of it.
const TTL: u32 = 3600;

/// What a `network.dns-record` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsRecordSpec {
    /// The zone: `example.com`, `2.0.192.in-addr.arpa`.
    zone: String,
    /// Whose records: `www`, `www.example.com` or `www.example.com.`; `@` for the zone itself.
    name: String,
    /// A, AAAA, CAA, CNAME, MX, NS, PTR, SRV or TXT.
    #[serde(rename = "type")]
    kind: String,
    /// How long others may keep them, in seconds. Default 3600.
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u32>,
    /// What each record says, as in zone files; names in full. A text of TXT may stand without quotes.
    values: Vec<String>,
}

/// `network.dns-record`.
pub struct DnsRecord;

/// The parts of an identity: zone, name and type.
fn parts(identity: &str) -> Option<(&str, &str, &str)> {
    let mut parts = identity.strip_prefix("rrset:")?.split('/');
    let all = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some(all)
}

impl Kind for DnsRecord {
    type Spec = DnsRecordSpec;
    const NAME: &'static str = "dns-record";
    const DOC: &'static str = "All records of one name and type in a zone of a DNS server. They are put, changed and \
        removed as one, by updates (RFC 2136) that the server refuses once somebody else has changed them; other \
        records are never touched.";
    // One look at a zone serves them all.
    const WHOLE_TARGET: bool = true;

    fn fields() -> Vec<Field> {
        let mut fields: Vec<Field> = ["/zone", "/name", "/type"].map(|field| Field::new(field).immutable()).into();
        fields.push(Field::new("/ttl").default_value(TTL));
        fields
    }

    fn identity(spec: &DnsRecordSpec) -> String {
        let zone = absolute(&spec.zone).unwrap_or_else(|_| spec.zone.clone());
        let name = owner(&spec.name, &spec.zone).unwrap_or_else(|_| spec.name.clone());
        format!("rrset:{zone}/{name}/{}", spec.kind.to_ascii_uppercase())
    }

    fn check(spec: &DnsRecordSpec) -> Vec<Diagnostic> {
        let mut remarks = Vec::new();
        let mut wrong = |field: &str, why: String| remarks.push(Diagnostic::error(why).at(field));
        let zone = absolute(&spec.zone);
        let name = owner(&spec.name, &spec.zone);
        let kind = spec.kind.to_ascii_uppercase();
        if kind == "SOA" {
            wrong("/type", "the SOA of a zone is the server's own: it counts the changes with it".to_owned());
        } else if !TYPES.contains(&kind.as_str()) {
            wrong("/type", format!("{:?} is no type that can be managed: {}", spec.kind, TYPES.join(", ")));
        }
        match (&zone, &name) {
            (Err(why), _) => wrong("/zone", why.clone()),
            (_, Err(why)) => wrong("/name", why.clone()),
            (Ok(zone), Ok(name)) if kind == "NS" && zone == name => {
                let why = format!("the name servers of {zone} itself are the zone's own; give those of names below it");
                wrong("/name", why);
            }
            (Ok(zone), Ok(name)) if kind == ALIAS && zone == name => {
                wrong("/type", format!("{zone} has its SOA, beside which a CNAME cannot be"));
            }
            _ => {}
        }
        if spec.values.is_empty() {
            wrong("/values", "a set without a value is none; take the resource out instead".to_owned());
        }
        if kind == ALIAS && spec.values.len() > 1 {
            wrong("/values", "a name is an alias for one other alone: a CNAME has one value".to_owned());
        }
        remarks
    }

    fn normalise(spec: DnsRecordSpec, machine: &Machine<'_>) -> Result<DnsRecordSpec, Error> {
        let spelled = DnsRecordSpec {
            zone: absolute(&spec.zone).map_err(|why| bad("/zone", why))?,
            name: owner(&spec.name, &spec.zone).map_err(|why| bad("/name", why))?,
            kind: spec.kind.to_ascii_uppercase(),
            ttl: Some(spec.ttl.unwrap_or(TTL)),
            values: spec.values,
        };
        let set = machine.dns().normalise(&spelled)?;
        serde_json::from_value(set).map_err(|error| Error::plugin(format!("the host spelled no set: {error}")))
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        let identities: Vec<String> = subjects.iter().map(|subject| subject.identity.clone()).collect();
        let seen = machine.dns().look(&identities)?;
        let each = |(subject, seen): (&Subject, Records)| match seen {
            Records::Failed(error) => Observation::Failed(error),
            Records::Found { state: None, seen, .. } => Observation::absent([seen]),
            Records::Found { state: Some(Value::Object(mut set)), seen, .. } => {
                let named = |field: &str| matches!(field, "zone" | "name" | "type");
                set.retain(|field, _| named(field) || subject.manages(&format!("/{field}")));
                Observation::present(Value::Object(set), [seen])
            }
            Records::Found { .. } => Observation::Failed(Error::plugin(format!("{} is no set", subject.identity))),
        };
        Ok(subjects.iter().zip(seen).map(each).collect())
    }

    fn steps(change: &Change<DnsRecordSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        let Some((zone, name, kind)) = parts(&change.identity) else {
            return Err(Error::plugin(format!("{} is no set of records", change.identity)));
        };
        let beside_it = |identity: &str, kind: &str| parts(identity) == Some((zone, name, kind));
        // An alias takes the place of all else under its name, and the other way round: in one
        // update, or it could not.
        let moved = propose.all_changes().iter().any(|other| beside_it(&other.identity, ALIAS));
        let key = moved.then(|| format!("{zone}/{name}"));
        if change.action == Action::Delete {
            if let Some(message) = somebody_elses(change) {
                return Ok(Step::Refused(Error::target("conflict", message)));
            }
            let effect = remove_records(&change.identity);
            propose.add(match key {
                Some(key) => effect.together(key),
                None => effect,
            })?;
            return Ok(Step::Proposed);
        }
        if change.makes() || kind == ALIAS {
            let goes = |of: &str| {
                let mut all = propose.all_changes().iter();
                all.any(|other| other.action == Action::Delete && beside_it(&other.identity, of))
            };
            let neighbours = machine.once("neighbours", || neighbours(machine, propose))?;
            if let Some(beside) = neighbours.get(&change.identity)
                && let Some(other) = beside.iter().find(|of| !goes(of))
            {
                let message = format!("{name} has records of type {other}, beside which a {kind} cannot be");
                return Ok(Step::Refused(Error::target("conflict", message)));
            }
        }
        let effect = put_records(change.wanted()?);
        propose.add(match key {
            Some(key) => effect.together(key),
            None => effect,
        })?;
        Ok(Step::Proposed)
    }
}

/// The types that are beside each set, under its name: one look for all changes of a call, as a
/// look may be a transfer of the whole zone.
fn neighbours(machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<BTreeMap<String, Vec<String>>, Error> {
    let ours = propose.all_changes().iter().filter(|change| change.action != Action::Delete);
    let sets: Vec<String> = ours.map(|change| change.identity.clone()).filter(|set| parts(set).is_some()).collect();
    let seen = machine.dns().look(&sets)?;
    let beside = sets.into_iter().zip(seen).filter_map(|(set, seen)| match seen {
        Records::Found { beside, .. } => Some((set, beside)),
        Records::Failed(_) => None,
    });
    Ok(beside.collect())
}

/// Why a set that left Git is not removed: it is no longer what was put there.
fn somebody_elses(change: &Change<DnsRecordSpec>) -> Option<String> {
    let (observed, last) = (change.observed.as_ref()?, change.last.as_ref()?);
    let values = observed.get("values")?;
    if Some(values) == last.get("values") {
        return None;
    }
    let listed: Vec<&str> = values.as_array()?.iter().filter_map(Value::as_str).collect();
    Some(format!(
        "{} is no longer as it was put there; by now it holds {}. Remove it by hand, or `tidelock forget` it",
        change.identity.trim_start_matches("rrset:"),
        listed.join(", ")
    ))
}
