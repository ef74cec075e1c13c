//! Looking at objects whose spec is the object itself: what is managed of what is there.

use tidelock_sdk::serde_json::{Map, Value, json};
use tidelock_sdk::{Error, Machine, Observation, Seen, Subject};

use crate::kept::{self, Live};
use crate::spelling::MAIN;

/// The number of the protocol of routes and rules that are Tidelock's.
const OURS: u64 = 201;

/// Looks at all subjects at once. `names` are the fields that the identity is made of.
pub(crate) fn objects(subjects: &[Subject], machine: &Machine<'_>, names: &[&str]) -> Result<Vec<Observation>, Error> {
    let seen = machine.network().look(&identities(subjects))?;
    Ok(subjects.iter().zip(seen).map(|(subject, seen)| observation(subject, seen, names, machine)).collect())
}

/// What subjects are called.
pub(crate) fn identities(subjects: &[Subject]) -> Vec<String> {
    subjects.iter().map(|subject| subject.identity.clone()).collect()
}

/// What was seen of a subject, with what is kept of it.
pub(crate) fn observation(subject: &Subject, seen: Seen, names: &[&str], machine: &Machine<'_>) -> Observation {
    let live = match seen {
        Seen::Found { state: Value::Object(mut fields), seen } => {
            // That it is somebody else's is told of a route or rule, however little is managed of it.
            let others = fields.get("protocol").is_some_and(|protocol| *protocol != OURS);
            fields.retain(|field, _| {
                let asked = names.contains(&field.as_str()) || subject.manages(&format!("/{field}"));
                asked || others && field == "protocol"
            });
            Live::There(fields, seen)
        }
        Seen::Found { .. } => return Observation::Failed(Error::plugin(format!("{} is no object", subject.identity))),
        Seen::Absent(seen) => Live::Gone(named(&subject.identity), seen),
        Seen::Failed(error) => return Observation::Failed(error),
    };
    kept::both(subject, live, machine)
}

/// The fields that an identity tells.
fn named(identity: &str) -> Map<String, Value> {
    let number = |text: &str| text.parse::<u32>().map_or(Value::Null, Value::from);
    let (sort, rest) = identity.split_once(':').unwrap_or_default();
    let (first, second) = rest.split_once('/').unwrap_or((rest, ""));
    let fields = match sort {
        "address" => json!({ "link": first, "address": second }),
        "route" => {
            let table = if first == "main" { Value::from(MAIN) } else { number(first) };
            let usual = if second.contains(':') { "1024" } else { "0" };
            let (to, metric) = second.split_once('+').unwrap_or((second, usual));
            json!({ "table": table, "to": to, "metric": number(metric) })
        }
        "rule" => json!({ "family": number(first), "priority": number(second) }),
        "nftables" => json!({ "family": first, "name": second }),
        _ => json!({ "name": rest }),
    };
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
