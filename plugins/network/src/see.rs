//! Looking at objects whose spec is the object itself: what is managed of what is there.

use tidelock_sdk::serde_json::Value;
use tidelock_sdk::{Error, Machine, Observation, Seen, Subject};

/// Looks at all subjects at once. `names` are the fields that the identity is made of.
pub(crate) fn objects(subjects: &[Subject], machine: &Machine<'_>, names: &[&str]) -> Result<Vec<Observation>, Error> {
    let identities: Vec<String> = subjects.iter().map(|subject| subject.identity.clone()).collect();
    let seen = machine.network().look(&identities)?;
    Ok(subjects.iter().zip(seen).map(|(subject, seen)| observation(subject, seen, names)).collect())
}

fn observation(subject: &Subject, seen: Seen, names: &[&str]) -> Observation {
    match seen {
        Seen::Found { state: Value::Object(mut fields), seen } => {
            fields.retain(|field, _| names.contains(&field.as_str()) || subject.manages(&format!("/{field}")));
            Observation::present(Value::Object(fields), [seen])
        }
        Seen::Found { .. } => Observation::Failed(Error::plugin(format!("{} is no object", subject.identity))),
        Seen::Absent(seen) => Observation::absent([seen]),
        Seen::Failed(error) => Observation::Failed(error),
    }
}
