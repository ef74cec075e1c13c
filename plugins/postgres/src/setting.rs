//! `postgres.setting`: one setting of the server, of a database, of a role, or of a role in a
//! database.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::sql::{Failure, Row, Rows, Server, Value, identity, reload, reset, set};
use tidelock_sdk::{
    Action, Change, Diagnostic, Error, Field, Found, Kind, Machine, Observation, Proposals, Step, Subject,
};

use crate::discover;
use crate::missing;
use crate::name::{self, Name, together::SETTINGS};
use crate::settings::{self, Catalog, Settings};

/// What a `postgres.setting` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingSpec {
    /// Its name: `work_mem`.
    name: String,
    /// Its value: a text such as `64MB`, a number, a boolean, or a list of names.
    value: settings::Setting,
    /// The database whose sessions have it; with `role`, that role's sessions in it. Without
    /// either, the server has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    database: Option<Name>,
    /// The role whose sessions have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<Name>,
}

/// `postgres.setting`.
pub struct Setting;

/// Settings that count only after a restart. Said before anything is looked at; what the
/// server itself knows is used wherever it can be asked.
const RESTART: &str = "\
    archive_mode autovacuum_freeze_max_age autovacuum_max_workers autovacuum_multixact_freeze_max_age bonjour \
    bonjour_name cluster_name config_file data_directory data_sync_retry dynamic_shared_memory_type event_source \
    external_pid_file hba_file hot_standby huge_page_size huge_pages ident_file ignore_invalid_pages jit_provider \
    listen_addresses logging_collector max_connections max_files_per_process max_locks_per_transaction \
    max_logical_replication_workers max_pred_locks_per_transaction max_prepared_transactions max_replication_slots \
    max_wal_senders max_worker_processes min_dynamic_shared_memory old_snapshot_threshold port recovery_target \
    recovery_target_action recovery_target_inclusive recovery_target_lsn recovery_target_name recovery_target_time \
    recovery_target_timeline recovery_target_xid reserved_connections shared_buffers shared_memory_type \
    shared_preload_libraries superuser_reserved_connections track_activity_query_size track_commit_timestamp \
    unix_socket_directories unix_socket_group unix_socket_permissions wal_buffers wal_decode_buffer_size wal_level \
    wal_log_hints";

/// Settings that are kept for databases and roles.
const KEPT: &str = "SELECT coalesce(r.rolname::text, '') AS role, coalesce(d.datname::text, '') AS database, \
    lower(split_part(c.setting, '=', 1)) AS name, c.setting \
    FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase \
    CROSS JOIN LATERAL unnest(s.setconfig) AS c (setting)";

/// What the server's files say, the last word for each name last. Only superusers, and whom they
/// let, may read it.
const FILES: &str = "SELECT f.name, f.setting AS value, f.sourcefile FROM pg_file_settings f ORDER BY f.seqno";

/// What the server goes by, for those who may not read its files. `reset_val` is free of what a
/// session says for itself.
const SERVER: &str = "SELECT s.name, s.reset_val AS value, s.sourcefile FROM pg_settings s \
    WHERE s.source = 'configuration file'";

/// Where `ALTER SYSTEM` writes.
const OWN_FILE: &str = "postgresql.auto.conf";

/// Whose it is.
enum Whose {
    Server,
    Kept { role: String, database: String },
}

impl Kind for Setting {
    type Spec = SettingSpec;
    const NAME: &'static str = "setting";
    const DOC: &'static str = "A setting of the server (ALTER SYSTEM), a database, a role, or a role in a database. The \
        server's takes effect with a reload, which is part of the change, or with a restart, which is yours.";
    const WHOLE_TARGET: bool = true;
    // A reload is a signal: the server says when it has read its files.
    const SETTLE_MS: u32 = 5_000;

    fn fields() -> Vec<Field> {
        vec![Field::new("/name").immutable(), Field::new("/database").immutable(), Field::new("/role").immutable()]
    }

    fn identity(spec: &SettingSpec) -> String {
        let name = spec.name.to_ascii_lowercase();
        let text = |name: &Option<Name>| name.as_ref().map(|name| name.as_str().to_owned()).unwrap_or_default();
        match (&spec.role, &spec.database) {
            (None, None) => identity::of("setting", ["server", &name]),
            (None, Some(database)) => of_database(database.as_str(), &name),
            (Some(role), database) => of_role(role.as_str(), &text(database), &name),
        }
    }

    fn requires(spec: &SettingSpec) -> Vec<String> {
        let role = spec.role.iter().map(|role| name::role(role.as_str()));
        role.chain(spec.database.iter().map(|database| name::database(database.as_str()))).collect()
    }

    fn check(spec: &SettingSpec) -> Vec<Diagnostic> {
        if spec.value == settings::Setting::Unset {
            let remark = Diagnostic::error("a setting without a value is one that is not declared").at("/value");
            return vec![remark.hint("remove the resource to have the setting reset")];
        }
        let name = spec.name.to_ascii_lowercase();
        let servers = spec.role.is_none() && spec.database.is_none();
        if servers && settings::OF_ROLES.contains(&name.as_str()) {
            let remark = Diagnostic::error(format!("{name} is a setting of sessions, and the server has none"));
            return vec![remark.at("/name").hint("say whose sessions with `role` or `database`")];
        }
        if servers && RESTART.split_whitespace().any(|known| known == name) {
            let remark = Diagnostic::warning(format!("{name} counts only once the server has been restarted"));
            return vec![remark.at("/name").hint("Tidelock writes it and does not restart the server")];
        }
        Vec::new()
    }

    fn normalise(mut spec: SettingSpec, machine: &Machine<'_>) -> Result<SettingSpec, Error> {
        let catalog = Catalog::of(machine)?;
        spec.name = spec.name.to_ascii_lowercase();
        let whose = match (&spec.role, &spec.database) {
            (None, None) => settings::Whose::Server,
            _ => settings::Whose::Sessions,
        };
        catalog.may_be(whose, &spec.name).map_err(|error| error.at("/name"))?;
        spec.value = catalog.spell_wanted(&spec.name, &spec.value).map_err(|error| error.at("/value"))?;
        Ok(spec)
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        let home = Server::of(machine).home()?;
        let catalog = Catalog::of(machine)?;
        let kept = home.query(KEPT, &[])?;
        let server = match home.query(FILES, &[]) {
            Err(failure) if failure.sqlstate.as_deref() == Some("42501") => home.query(SERVER, &[])?,
            other => other?,
        };
        let known = server.by_key::<String>("name")?;
        let by_whose = by_whose(&kept, &catalog)?;
        let look = |subject: &Subject| {
            let (whose, name) = whose(&subject.identity)?;
            match whose {
                Whose::Kept { role, database } => {
                    let seen = [kept.seen(&[Value::from(&role), Value::from(&database), Value::from(&name)])?];
                    let value =
                        by_whose.get(&(role.clone(), database.clone())).and_then(|settings| settings.get(&name));
                    let Some(value) = value else { return Ok(Observation::absent(seen)) };
                    let mut observed = json!({ "name": name, "value": value });
                    for (key, text) in [("role", role), ("database", database)] {
                        if !text.is_empty() {
                            observed[key] = json!(text);
                        }
                    }
                    Ok(Observation::present(observed, seen))
                }
                Whose::Server => of_server(&name, known.get(&name).copied(), &server, &catalog),
            }
        };
        subjects.iter().map(look).collect()
    }

    fn discover(machine: &Machine<'_>) -> Result<Option<Vec<Found>>, Error> {
        let catalog = Catalog::of(machine)?;
        let home = Server::of(machine).home()?;
        let kept = home.query(KEPT, &[])?;
        let by_whose = by_whose(&kept, &catalog)?;
        let found = by_whose.iter().flat_map(|((role, database), all)| discover::settings(role, database, all));
        let mut found: Vec<Found> = found.collect();
        found.extend(by_whose.get(&(String::new(), String::new())).and_then(discover::settings_of_all));
        found.extend(of_alter_system(home.query(FILES, &[]), &catalog)?);
        Ok(Some(found))
    }

    fn steps(change: &Change<SettingSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        if let Some(waits) = crate::renames::first::<Setting>(change, machine, propose)? {
            return Ok(waits);
        }
        let rests_on = change.desired.as_ref().map(Self::requires).unwrap_or_default();
        if let Some(waits) = missing::first(change, &rests_on, machine, propose)? {
            return Ok(waits);
        }
        let (whose, name) = whose(&change.identity)?;
        let value = match change.action {
            Action::Delete => None,
            _ => change.wanted()?.value.values(),
        };
        let effect = match value {
            Some(values) => set(&name, values),
            None => reset(&name),
        };
        match whose {
            Whose::Server => {
                propose.add(effect)?;
                propose.add(reload())?;
            }
            Whose::Kept { role, database } => {
                let effect = match (role.as_str(), database.as_str()) {
                    ("", database) => effect.of_database(database),
                    (role, "") => effect.of_role(role),
                    (role, database) => effect.of_role(role).in_database(database),
                };
                propose.add(effect.together(SETTINGS))?;
            }
        }
        Ok(Step::Proposed)
    }
}

/// What `ALTER SYSTEM` has written, as far as a plan of it changes nothing.
fn of_alter_system(files: Result<Rc<Rows>, Failure>, catalog: &Catalog) -> Result<Vec<Found>, Error> {
    let files = match files {
        Err(failure) if failure.sqlstate.as_deref() == Some("42501") => {
            let remark = "settings of ALTER SYSTEM are left out: who looks may not read pg_file_settings, and nobody else \
                can tell them from those of the operator's own files";
            return Ok(vec![Found::left_out(remark)]);
        }
        other => other?,
    };
    let (mut found, mut passed_over) = (Vec::new(), Vec::new());
    for (name, row) in files.by_key::<String>("name")? {
        let name = name.to_ascii_lowercase();
        if !row.get::<Option<String>>("sourcefile")?.is_some_and(|file| file.ends_with(OWN_FILE)) {
            continue;
        }
        let value = settings::Setting::One(row.get::<Option<String>>("value")?.unwrap_or_default());
        let may_be = catalog.may_be(settings::Whose::Server, &name);
        match may_be.and_then(|()| catalog.spell(&name, &value)) {
            Ok(value) => found.push(discover::server_setting(&name, &value)),
            // Somebody wrote it into that file by hand.
            Err(_) => passed_over.push(name),
        }
    }
    if !passed_over.is_empty() {
        let names = passed_over.join(", ");
        found.push(Found::left_out(format!("{OWN_FILE} has {names}, which ALTER SYSTEM would not write: left out")));
    }
    Ok(found)
}

/// The identity of a setting of a role; `database` is empty for its sessions in all.
pub(crate) fn of_role(role: &str, database: &str, name: &str) -> String {
    identity::of("setting", ["role", role, database, name])
}

/// The identity of a setting of a database, for whoever signs in to it.
pub(crate) fn of_database(database: &str, name: &str) -> String {
    identity::of("setting", ["database", database, name])
}

fn whose(identity: &str) -> Result<(Whose, String), Error> {
    let parts = identity::parts(identity);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let kept = |role: &str, database: &str| Whose::Kept { role: role.to_owned(), database: database.to_owned() };
    match parts.as_slice() {
        ["server", name] => Ok((Whose::Server, (*name).to_owned())),
        ["database", database, name] => Ok((kept("", database), (*name).to_owned())),
        ["role", role, database, name] => Ok((kept(role, database), (*name).to_owned())),
        _ => Err(Error::plugin(format!("{identity:?} is no setting's identity"))),
    }
}

type ByWhose = BTreeMap<(String, String), Settings>;

fn by_whose(rows: &Rows, catalog: &Catalog) -> Result<ByWhose, Error> {
    let mut out = ByWhose::new();
    for row in rows {
        let settings: &mut Settings = out.entry((row.get("role")?, row.get("database")?)).or_default();
        settings.extend(catalog.read(&[row.get("setting")?]));
    }
    Ok(out)
}

/// A setting of the server: present where `ALTER SYSTEM` has written one, absent where the
/// default or the operator's own file says what counts. One that waits for a restart is there.
fn of_server(name: &str, row: Option<&Row>, rows: &Rows, catalog: &Catalog) -> Result<Observation, Error> {
    let seen = [rows.seen(&[Value::from(name)])?];
    let Some(row) = row else { return Ok(Observation::absent(seen)) };
    // Who may not read the files is not told which one it was.
    let file: Option<String> = row.get("sourcefile")?;
    if file.is_some_and(|file| !file.ends_with(OWN_FILE)) {
        return Ok(Observation::absent(seen));
    }
    let value = settings::Setting::One(row.get::<Option<String>>("value")?.unwrap_or_default());
    let value = catalog.spell(name, &value)?;
    Ok(Observation::present(json!({ "name": name, "value": value }), seen))
}

/// Whether a `postgres.setting` of the plan sets something anyhow: then nobody resets it first. One that is taken
/// over as it is has no effects and is not seen here; that is looked at again after the apply.
pub(crate) fn is_kept(identity: &str, propose: &Proposals<'_>) -> bool {
    propose.all_changes().iter().any(|change| change.identity == identity && change.action != Action::Delete)
}

/// What is to be set and reset between what there is and what a spec lists. Of `strays` nobody
/// speaks, and they go.
pub(crate) fn changes(
    wanted: &Settings,
    there: &Settings,
    last: &Settings,
    strays: &[String],
) -> Vec<(String, settings::Setting)> {
    let mut out = Vec::new();
    for name in there.keys().filter(|name| !wanted.contains_key(*name)) {
        if strays.contains(name) || last.contains_key(name) {
            out.push((name.clone(), settings::Setting::Unset));
        }
    }
    for (name, value) in wanted {
        if there.get(name).unwrap_or(&settings::Setting::Unset) != value {
            out.push((name.clone(), value.clone()));
        }
    }
    out
}
