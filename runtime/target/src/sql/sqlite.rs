//! SQLite: a file of this machine. Looks are taken with a handle that cannot write, on a database
//! whose views and triggers are not trusted; a group of statements is one transaction, and the
//! file's own lock is the turn.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tidelock_model::effect::Precondition;
use tidelock_model::error::{Blame, Fault, tame};
use tidelock_model::name::Name;
use tidelock_model::run::EffectEnd;
use tidelock_model::sql::{Dialect, Look};

use super::guard::{Judged, judge};
use super::keyed::Keyed;
use super::perform::{Ready, changed};
use super::value::{Answer, Column, SqlFault, Value, fault};
use super::{Facts, Limits};
use crate::right::Right;

/// The longest text of SQLite's that is kept.
const MAX: usize = 2_000;

/// The only database of a file.
pub(super) const MAIN: &str = "main";

/// A database in a file.
#[derive(Clone)]
pub(super) struct Sqlite {
    name: Name,
    file: Arc<PathBuf>,
}

impl Sqlite {
    pub(super) fn new(name: &Name, file: PathBuf) -> Self {
        Self { name: name.clone(), file: Arc::new(file) }
    }

    pub(super) fn facts(&self) -> Result<Facts, SqlFault> {
        self.fingerprint()?;
        Ok(Facts {
            dialect: Dialect::Sqlite,
            version: rusqlite::version().to_owned(),
            number: u32::try_from(rusqlite::version_number()).unwrap_or_default(),
            database: MAIN.to_owned(),
            acts_as: "this process".to_owned(),
            superuser: false,
            encrypted: false,
        })
    }

    /// What tells this file from another in its place.
    pub(super) fn fingerprint(&self) -> Result<String, SqlFault> {
        use std::os::unix::fs::MetadataExt as _;
        let shown = self.file.display();
        let meta = std::fs::metadata(&*self.file).map_err(|error| {
            fault("unavailable", format!("target {}: {shown} cannot be looked at: {error}", self.name))
                .retryable()
                .hint(format!("an empty file is an empty database: touch {shown}"))
        })?;
        if !meta.is_file() {
            return Err(fault("invalid", format!("target {}: {shown} is no file", self.name)).into());
        }
        Ok(format!("sqlite:{}:{}", meta.dev(), meta.ino()))
    }

    fn open(&self, write: bool, wait_ms: u32) -> Result<Connection, SqlFault> {
        let access = if write { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
        let what = format!("target {}: {}", self.name, self.file.display());
        let failed = |error| of(&error, &what);
        // Without SQLITE_OPEN_URI a name is a name, whatever it looks like.
        let conn =
            Connection::open_with_flags(&*self.file, access | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
        conn.busy_timeout(Duration::from_millis(wait_ms.into())).map_err(failed)?;
        // What lies in the file may have been put there by anybody.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).map_err(failed)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map_err(failed)?;
        if !write {
            conn.pragma_update(None, "query_only", true).map_err(failed)?;
        }
        Ok(conn)
    }

    /// Does something that blocks with a connection, for so long at most.
    async fn with<T: Send + 'static>(
        &self,
        write: bool,
        wait_ms: u32,
        most_ms: u32,
        work: impl FnOnce(&mut Connection) -> Result<T, SqlFault> + Send + 'static,
    ) -> Result<T, SqlFault> {
        let server = self.clone();
        let (send, receive) = tokio::sync::oneshot::channel();
        let mut task = tokio::task::spawn_blocking(move || {
            let mut conn = server.open(write, wait_ms)?;
            drop(send.send(conn.get_interrupt_handle()));
            work(&mut conn)
        });
        let gone =
            |error: tokio::task::JoinError| SqlFault::from(fault("panic", format!("a query ended early: {error}")));
        match tokio::time::timeout(Duration::from_millis(most_ms.into()), &mut task).await {
            Ok(ended) => ended.map_err(gone)?,
            Err(_) => {
                if let Ok(handle) = receive.await {
                    handle.interrupt();
                }
                task.await.map_err(gone)?
            }
        }
    }

    pub(super) async fn ask(
        &self,
        limits: &Limits,
        query: &Judged,
        parameters: &[Option<String>],
    ) -> Result<Answer, SqlFault> {
        let (text, parameters, held) = (query.text.clone(), parameters.to_vec(), limits.clone());
        self.with(false, limits.lock_ms, limits.statement_ms, move |conn| answer(conn, &held, &text, &parameters)).await
    }

    /// All or nothing.
    pub(super) async fn perform(&self, limits: &Limits, effects: &[Ready<'_>], right: &Right) -> Vec<EffectEnd> {
        let statements: Vec<(String, Vec<Look>)> = effects
            .iter()
            .map(|ready| {
                let looks = match &ready.effect.precondition {
                    Some(Precondition::Rows { looks }) => looks.clone(),
                    _ => Vec::new(),
                };
                (ready.sql.clone(), looks)
            })
            .collect();
        let (held, right) = (limits.clone(), right.clone());
        let stale: Vec<Fault> = effects.iter().map(|ready| changed(ready.effect)).collect();
        let done = self
            .with(true, limits.turn_ms, limits.turn_ms.saturating_add(limits.write_ms), move |conn| {
                Ok(transaction(conn, &held, &statements, &stale, &right))
            })
            .await;
        let stop = match done {
            Ok(Ok(())) => return vec![EffectEnd::Done; effects.len()],
            Ok(Err(stop)) => stop,
            Err(fault) => Stop { at: 0, fault: fault.whole(), unknown: false },
        };
        let end = |i: usize| match stop.unknown {
            true => EffectEnd::Unknown { why: stop.fault.message.clone() },
            false if i == stop.at => EffectEnd::Failed { fault: stop.fault.clone() },
            false => EffectEnd::NotReached,
        };
        (0..effects.len()).map(end).collect()
    }
}

/// How a transaction ended that did not end well.
struct Stop {
    at: usize,
    fault: Fault,
    /// Whether it may have happened all the same.
    unknown: bool,
}

fn transaction(
    conn: &mut Connection,
    limits: &Limits,
    statements: &[(String, Vec<Look>)],
    stale: &[Fault],
    right: &Right,
) -> Result<(), Stop> {
    let stop = |at: usize, fault: SqlFault| Stop { at, fault: fault.whole(), unknown: false };
    let failed = |at: usize| move |error: rusqlite::Error| stop(at, of(&error, "the database refused it"));
    // Whoever has begun to write keeps others out until the end.
    let work = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(failed(0))?;
    for (at, (_, looks)) in statements.iter().enumerate() {
        for look in looks {
            // What was judged is judged again: a plan may have lain in a file.
            let query = judge(Dialect::Sqlite, &look.query).map_err(|fault| stop(at, fault.into()))?;
            let seen = answer(&work, limits, &query.text, &look.parameters).map_err(|fault| stop(at, fault))?;
            let (count, rows) = Keyed::new(seen).of_key(&look.key);
            if rows != look.rows || count != look.count {
                return Err(Stop { at, fault: stale[at].clone(), unknown: false });
            }
        }
    }
    for (at, (sql, _)) in statements.iter().enumerate() {
        // Refuses a text that holds a second statement.
        work.execute(sql, []).map_err(failed(at))?;
    }
    if right.is_over() {
        let late = fault("late", "the lease ended before the transaction did; nothing of it happened").retryable();
        return Err(stop(0, late.into()));
    }
    work.commit().map_err(|error| Stop {
        // Busy is a rollback; an error of the disk is neither.
        unknown: !matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)),
        ..stop(0, of(&error, "the end of the transaction was not confirmed"))
    })
}

/// Asks, on whatever connection.
fn answer(conn: &Connection, limits: &Limits, text: &str, parameters: &[Option<String>]) -> Result<Answer, SqlFault> {
    let failed = |error: rusqlite::Error| of(&error, "the database refused a query");
    let mut statement = conn.prepare(text).map_err(failed)?;
    if !statement.readonly() {
        return Err(Fault::new("denied", Blame::Plugin, "a query that would write").into());
    }
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut out = Answer { columns: Vec::new(), rows: Vec::new() };
    let mut weight = 0;
    let mut rows = statement.query(rusqlite::params_from_iter(parameters)).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let values: Result<Vec<Value>, rusqlite::Error> = (0..names.len()).map(|i| row.get_ref(i).map(value)).collect();
        let values = values.map_err(failed)?;
        weight += values.iter().map(Value::weight).sum::<usize>();
        out.rows.push(values);
        limits.hold(out.rows.len(), weight)?;
    }
    // Values have types here, and columns have none.
    out.columns = names.into_iter().map(|name| Column { name, type_name: String::new() }).collect();
    Ok(out)
}

fn value(cell: ValueRef<'_>) -> Value {
    match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Real(value) => Value::Float(value),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Bytes(bytes.to_vec()),
        },
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    }
}

/// What SQLite says, in our words.
fn of(error: &rusqlite::Error, what: &str) -> SqlFault {
    let code = error.sqlite_error_code();
    let word = match code {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::CannotOpen) => "unavailable",
        Some(ErrorCode::OperationInterrupted) => "timeout",
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
            "denied"
        }
        _ => "sql",
    };
    let mut fault = Fault::new(word, Blame::Target, format!("{what}: {}", tame(&error.to_string(), MAX)));
    fault.retryable = word == "unavailable";
    fault.into()
}
