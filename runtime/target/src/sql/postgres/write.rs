//! Performing on PostgreSQL: transactions where it allows them, and one lock per server.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use futures::future::join_all;
use tidelock_model::effect::{EffectBody, Precondition};
use tidelock_model::error::Fault;
use tidelock_model::grant::Grant;
use tidelock_model::run::EffectEnd;
use tidelock_model::sql::{Act, Dialect, Look, Statement, Verb};

use super::connect::{AS_NEW, Pool, Session};
use super::error::{of, passes};
use super::own::{Own, touched};
use super::read::{ask, ask_within};
use super::{quiet, reach};
use crate::right::Right;
use crate::sql::Limits;
use crate::sql::guard::{Judged, judge};
use crate::sql::keyed::Keyed;
use crate::sql::perform::{Ready, changed};
use crate::sql::session::{Purpose, TRIES, WAIT, would_be_gone};
use crate::sql::value::{Answer, SqlFault, fault};

/// Who holds it performs. Locks are per database and roles are not, so it is always taken in
/// the maintenance database. The number says "tidelock".
const LOCK: i64 = 0x7469_6465_6c6f_636b;
/// Statements that are under way at once: they wait for the server in one go.
const AHEAD: usize = 64;

/// Takes the lock of the server.
pub(super) async fn lock(pool: &Pool, limits: &Limits) -> Result<Session, SqlFault> {
    let session = pool.session(Purpose::Write, pool.maintenance()).await?;
    let what = "the lock of the server could not be taken: somebody else performs";
    let ask = format!(
        "SET lock_timeout TO {}; SELECT pg_catalog.pg_advisory_lock({LOCK}); RESET lock_timeout",
        limits.turn_ms
    );
    session.batch_execute(&ask).await.map_err(|error| of(&error, what))?;
    Ok(session)
}

/// Gives the lock back. A session that cannot is closed, and the lock with it.
pub(super) async fn unlock(session: Session) {
    let ask = format!("SELECT pg_catalog.pg_advisory_unlock({LOCK})");
    if session.batch_execute(&ask).await.is_ok() {
        session.give_back();
    }
}

/// How an attempt ended.
struct Stop {
    /// The effect that it is about; none where it is about all.
    at: Option<usize>,
    fault: Fault,
    /// Whether to try again.
    passes: bool,
    /// Whether it may have happened all the same.
    unknown: bool,
    /// Where all is done but these: changes to our own roles, which were put back.
    but: Option<Vec<usize>>,
}

impl Stop {
    fn all(fault: SqlFault) -> Self {
        let passes = fault.passes();
        Self { at: None, fault: fault.whole(), passes, unknown: false, but: None }
    }

    fn at(index: usize, ready: &Ready<'_>, error: &tokio_postgres::Error) -> Self {
        Self {
            at: Some(index),
            fault: of(
                error,
                match error.as_db_error() {
                    Some(_) => "the server refused it",
                    None => "the connection was lost while it was performed",
                },
            )
            .hushed(ready.holds_secret())
            .whole(),
            passes: passes(error),
            unknown: false,
            but: None,
        }
    }
}

/// Performs effects in one database: as one transaction, or one by itself that takes none.
pub(super) async fn perform(
    pool: &Pool,
    limits: &Limits,
    grants: &BTreeMap<String, Grant>,
    database: &str,
    effects: &[Ready<'_>],
    alone: bool,
    right: &Right,
) -> Vec<EffectEnd> {
    let mut wait = WAIT;
    for tries in 1.. {
        let ended = if alone {
            by_itself(pool, limits, grants, database, &effects[0]).await
        } else {
            transaction(pool, limits, grants, database, effects, right).await
        };
        let Err(stop) = ended else { return vec![EffectEnd::Done; effects.len()] };
        if stop.passes && tries < TRIES {
            tokio::time::sleep(wait).await;
            if !right.is_over() {
                wait *= 2;
                continue;
            }
        }
        let why = &stop.fault;
        return (0..effects.len())
            .map(|i| match (stop.unknown, stop.at) {
                _ if stop.but.as_ref().is_some_and(|but| !but.contains(&i)) => EffectEnd::Done,
                (true, _) => EffectEnd::Unknown { why: why.message.clone() },
                (false, Some(at)) if i != at => EffectEnd::NotReached,
                (false, None) if i > 0 && stop.but.is_none() => EffectEnd::NotReached,
                (false, _) => EffectEnd::Failed { fault: why.clone() },
            })
            .collect();
    }
    vec![EffectEnd::NotReached; effects.len()]
}

/// All or nothing; but for changes to the roles that we sign in as ourselves, which are put back
/// where they keep us out.
async fn transaction(
    pool: &Pool,
    limits: &Limits,
    grants: &BTreeMap<String, Grant>,
    database: &str,
    effects: &[Ready<'_>],
    right: &Right,
) -> Result<(), Stop> {
    let session = pool.session(Purpose::Write, database).await.map_err(Stop::all)?;
    let hush = match effects.iter().any(Ready::holds_secret) {
        true => quiet::statements(&session, true).await.map_err(Stop::all)?,
        false => String::new(),
    };
    let begin = format!(
        "BEGIN READ WRITE; SET LOCAL search_path TO ''; SET LOCAL standard_conforming_strings TO on; \
         SET LOCAL lock_timeout TO {}; SET LOCAL statement_timeout TO {}; \
         SET LOCAL idle_in_transaction_session_timeout TO 60000{hush}",
        limits.lock_ms, limits.write_ms
    );
    let failed = |error| Stop::all(of(&error, "a transaction could not begin"));
    let roles = pool.access.users();
    let own: Vec<usize> = (0..effects.len()).filter(|i| ours(&effects[*i], &roles).is_some()).collect();
    if let Some(at) = own.iter().copied().find(|i| ends(&effects[*i])) {
        let who = ours(&effects[at], &roles).map_or("", |(_, role)| role);
        return Err(Stop { at: Some(at), fault: would_be_gone(who), passes: false, unknown: false, but: None });
    }
    let before = match own.is_empty() {
        true => None,
        false => {
            let changed = own.iter().filter_map(|i| ours(&effects[*i], &roles).cloned()).collect();
            Some(Own::look(pool, &session, changed).await.map_err(Stop::all)?)
        }
    };
    let writer = roles.iter().find(|(purpose, _)| *purpose == Purpose::Write).map_or("", |(_, name)| name);
    for (i, ready) in effects.iter().enumerate() {
        let EffectBody::Sql(statement) = &ready.effect.body else { continue };
        if let Some(why) = before.as_ref().and_then(|own: &Own| own.takes(writer, statement)) {
            return Err(Stop { at: Some(i), fault: why.whole(), passes: false, unknown: false, but: None });
        }
    }
    session.batch_execute(&begin).await.map_err(failed)?;
    let mut ended = within(pool, &session, limits, grants, database, effects).await;
    if ended.is_ok() && right.is_over() {
        let late = fault("late", "the lease ended before the transaction did; nothing of it happened").retryable();
        ended = Err(Stop::all(late.into()));
    }
    if let Err(stop) = ended {
        if session.batch_execute("ROLLBACK").await.is_ok() {
            session.give_back();
        }
        return Err(stop);
    }
    match session.batch_execute("COMMIT").await {
        Ok(()) => {
            let proved = match &before {
                Some(own) => own.prove(pool, &session).await,
                None => Ok(()),
            };
            session.give_back();
            proved.map_err(|(fault, unknown)| Stop { at: None, fault, passes: false, unknown, but: Some(own) })
        }
        Err(error) => Err(Stop {
            at: None,
            fault: of(&error, "the server did not confirm the end of the transaction").whole(),
            passes: passes(&error),
            // The server's own no is a rollback; silence is neither.
            unknown: error.as_db_error().is_none(),
            but: None,
        }),
    }
}

/// Whether an effect ends what it is about.
fn ends(ready: &Ready<'_>) -> bool {
    matches!(&ready.effect.body, EffectBody::Sql(statement)
        if matches!(&statement.act, Act::Execute(Statement { verb: Verb::Drop, .. })))
}

/// Which of our own roles an effect changes.
fn ours<'r>(ready: &Ready<'_>, roles: &'r [(Purpose, String)]) -> Option<&'r (Purpose, String)> {
    match &ready.effect.body {
        EffectBody::Sql(statement) => touched(statement, roles),
        _ => None,
    }
}

async fn within(
    pool: &Pool,
    session: &Session,
    limits: &Limits,
    grants: &BTreeMap<String, Grant>,
    database: &str,
    effects: &[Ready<'_>],
) -> Result<(), Stop> {
    check(pool, Some(session), limits, database, effects).await?;
    leave_databases(pool, effects);
    for (chunk, first) in effects.chunks(AHEAD).zip((0..).step_by(AHEAD)) {
        let results = join_all(chunk.iter().map(|ready| session.execute_typed(&ready.sql, &[]))).await;
        for ((result, ready), i) in results.into_iter().zip(chunk).zip(first..) {
            result.map_err(|error| Stop::at(i, ready, &error))?;
        }
    }
    // By what roles are once all of it is done: a name may have been another's at the beginning.
    lent(session, grants, effects).await
}

/// Refuses what would let somebody act as a role beyond the grant.
async fn lent(session: &Session, grants: &BTreeMap<String, Grant>, effects: &[Ready<'_>]) -> Result<(), Stop> {
    match reach::refused(session, grants, effects).await.map_err(Stop::all)? {
        None => Ok(()),
        Some((i, fault)) => Err(Stop { at: Some(i), fault, passes: false, unknown: false, but: None }),
    }
}

/// Ends our own idle sessions with other databases where one is renamed, copied or dropped: the server
/// waits for all that are in it.
fn leave_databases(pool: &Pool, effects: &[Ready<'_>]) {
    let on_database = |ready: &Ready<'_>| {
        matches!(&ready.effect.body, EffectBody::Sql(statement)
            if matches!(&statement.act, Act::Execute(Statement { object, .. }) | Act::Rename { object, .. } if object.class == "database"))
    };
    if effects.iter().any(on_database) {
        pool.leave_databases();
    }
}

/// What the server takes only outside of a transaction.
async fn by_itself(
    pool: &Pool,
    limits: &Limits,
    grants: &BTreeMap<String, Grant>,
    database: &str,
    ready: &Ready<'_>,
) -> Result<(), Stop> {
    let effects = std::slice::from_ref(ready);
    check(pool, None, limits, database, effects).await?;
    leave_databases(pool, effects);
    let session = pool.session(Purpose::Write, database).await.map_err(Stop::all)?;
    lent(&session, grants, effects).await?;
    let hush = match ready.holds_secret() {
        true => quiet::statements(&session, false).await.map_err(Stop::all)?,
        false => String::new(),
    };
    let prepare = format!(
        "SET search_path TO ''; SET standard_conforming_strings TO on; SET lock_timeout TO {}; SET statement_timeout TO {}{hush}",
        limits.lock_ms, limits.write_ms
    );
    session.batch_execute(&prepare).await.map_err(|error| Stop::at(0, ready, &error))?;
    match session.execute_typed(&ready.sql, &[]).await {
        Ok(_) => {
            if session.batch_execute(AS_NEW).await.is_ok() {
                session.give_back();
            }
            Ok(())
        }
        Err(error) => Err(Stop { unknown: error.as_db_error().is_none(), ..Stop::at(0, ready, &error) }),
    }
}

/// Asks again what the effects rely on, each query once, and compares.
async fn check(
    pool: &Pool,
    session: Option<&Session>,
    limits: &Limits,
    database: &str,
    effects: &[Ready<'_>],
) -> Result<(), Stop> {
    let mut answers: BTreeMap<(&str, &str, &[Option<String>]), Keyed> = BTreeMap::new();
    for (i, ready) in effects.iter().enumerate() {
        let Some(Precondition::Rows { looks }) = &ready.effect.precondition else { continue };
        for look in looks {
            let asked = look.database.as_deref().unwrap_or(pool.maintenance());
            let key = (asked, &*look.query, look.parameters.as_slice());
            let answer = match answers.entry(key) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    // What was judged is judged again: a plan may have lain in a file.
                    let query = judge(Dialect::Postgres, &look.query).map_err(|fault| Stop::all(fault.into()))?;
                    let inside = session.filter(|_| asked == database);
                    let answer = again(pool, inside, limits, asked, &query, look).await.map_err(Stop::all)?;
                    new.insert(Keyed::new(answer))
                }
            };
            let (count, rows) = answer.of_key(&look.key);
            if rows != look.rows || count != look.count {
                return Err(Stop {
                    at: Some(i),
                    fault: changed(ready.effect),
                    passes: false,
                    unknown: false,
                    but: None,
                });
            }
        }
    }
    Ok(())
}

/// Asks within the transaction that will perform, so that nothing comes between; what other
/// databases say, in a session with them.
async fn again(
    pool: &Pool,
    session: Option<&Session>,
    limits: &Limits,
    database: &str,
    query: &Judged,
    look: &Look,
) -> Result<Answer, SqlFault> {
    let Some(session) = session else { return ask(pool, limits, database, query, &look.parameters).await };
    let what = "a look within the transaction";
    let begin = "SAVEPOINT look; SET LOCAL transaction_read_only TO on; SET LOCAL search_path TO pg_catalog, pg_temp";
    session.batch_execute(begin).await.map_err(|error| of(&error, what))?;
    let answer = ask_within(session, limits, query, &look.parameters).await;
    let end = session.batch_execute("ROLLBACK TO SAVEPOINT look; RELEASE SAVEPOINT look").await;
    end.map_err(|error| of(&error, what))?;
    answer
}
