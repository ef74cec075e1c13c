//! One setting of a role or a database in two resources: in its own spec, and in a
//! `postgres.setting`. Each pass would undo the other.

use std::collections::BTreeMap;

use serde::Deserialize;
use tidelock_sdk::provider::Declared;
use tidelock_sdk::{Diagnostic, Kind};

use crate::database::Database;
use crate::name::Name;
use crate::role::Role;
use crate::setting::Setting;
use crate::settings::Settings;

/// What a spec of any of the three kinds says of settings. The rest of it is passed over.
#[derive(Deserialize)]
struct Said {
    name: String,
    #[serde(default)]
    settings: Option<Settings>,
    #[serde(default)]
    role: Option<Name>,
    #[serde(default)]
    database: Option<Name>,
}

/// An error for each `postgres.setting` whose role or database has it in its own `settings`.
pub(crate) fn settings(resources: &[Declared]) -> Vec<(usize, Diagnostic)> {
    let (role, database, setting) = (full(Role::NAME), full(Database::NAME), full(Setting::NAME));
    if !resources.iter().any(|declared| declared.kind == setting) {
        return Vec::new();
    }
    // What cannot be read is refused elsewhere.
    let said: Vec<Option<Said>> = resources.iter().map(|declared| serde_json::from_str(&declared.spec).ok()).collect();
    let mut own: BTreeMap<(&str, &str, String), &Declared> = BTreeMap::new();
    for (declared, said) in resources.iter().zip(&said) {
        let Some(said) = said.as_ref().filter(|_| declared.kind == role || declared.kind == database) else { continue };
        for name in said.settings.iter().flat_map(Settings::keys) {
            own.insert((&declared.kind, &said.name, name.to_ascii_lowercase()), declared);
        }
    }
    let twice = |(at, said): (usize, &Option<Said>)| {
        let said = said.as_ref().filter(|_| resources[at].kind == setting)?;
        let (kind, whose) = match (&said.role, &said.database) {
            (Some(name), None) => (&role, name),
            (None, Some(name)) => (&database, name),
            _ => return None,
        };
        let name = said.name.to_ascii_lowercase();
        let other = own.get(&(kind.as_str(), whose.as_str(), name.clone()))?;
        let message = format!(
            "{name} of {whose} is also among the `settings` of {}, and {} would be undone at each pass",
            other.address, resources[at].address
        );
        Some((at, Diagnostic::error(message).at("/name").hint("keep it in one of them")))
    };
    said.iter().enumerate().filter_map(twice).collect()
}

fn full(kind: &str) -> String {
    format!("postgres.{kind}")
}
