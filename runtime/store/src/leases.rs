//! Who may apply to a lane or a target now.
//!
//! A lease is a promise among those who use this file; the token is what makes it
//! hold. It grows with each holder and never falls back, so a holder that slept
//! through its time finds a larger one in the file, and its writes are refused.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tidelock_model::port::{Holder, Lease, StoreError};

use crate::column::{count, number, parse};
use crate::error::{Kept, Trouble, refusal};
use crate::process::Process;

/// A lease as it lies in the file.
struct Row {
    token: i64,
    holder: Option<String>,
    process: Process,
    since: String,
    expires: i64,
}

impl Row {
    /// Whether the lease is somebody's at a time.
    fn is_held(&self, now: i64) -> bool {
        self.holder.is_some() && self.expires > now && !self.process.is_dead()
    }

    fn holder(&self) -> String {
        match &self.holder {
            Some(who) => format!("{who} (process {}, since {})", self.process.pid, self.since),
            None => "nobody".to_owned(),
        }
    }
}

fn row(connection: &Connection, key: &str) -> Kept<Option<Row>> {
    let mut select = connection
        .prepare_cached("SELECT token, holder, pid, started, machine, since, expires FROM leases WHERE key = ?1")?;
    let row = select.query_row([key], |row| {
        Ok(Row {
            token: row.get(0)?,
            holder: row.get(1)?,
            process: Process {
                pid: row.get::<_, Option<i64>>(2)?.unwrap_or(0),
                started: row.get::<_, Option<i64>>(3)?.unwrap_or(0),
                machine: row.get(4)?,
            },
            since: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
            expires: row.get(6)?,
        })
    });
    Ok(row.optional()?)
}

/// The lease on everything: while somebody has it nobody takes another.
const ALL: &str = "store";

/// Takes the lease on everything, where nobody has any.
pub(crate) fn take_all(transaction: &Transaction<'_>, who: &str) -> Kept<Lease> {
    let now = Timestamp::now();
    if let Some(holder) = holders(transaction)?.into_iter().find(|holder| holder.counts(now)) {
        let message = format!("the store is in use: {} is held by {holder} since {}", holder.key, holder.since);
        return Err(Trouble::Refused(refusal(
            "busy",
            message,
            Some("end that first: a daemon with SIGTERM or systemctl"),
        )));
    }
    take(transaction, ALL, who, ALL_MS)
}

/// How long the lease on everything lasts, in ms: longer than copying a large store takes.
const ALL_MS: u64 = 600_000;

/// The last token of each lease.
pub(crate) fn tokens(connection: &Connection) -> Kept<Vec<(String, i64)>> {
    let mut select = connection.prepare_cached("SELECT key, token FROM leases")?;
    Ok(select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?)
}

/// Gives every lease back, under tokens above those that were given out here and there.
pub(crate) fn free_all(transaction: &Transaction<'_>, elsewhere: &[(String, i64)]) -> Kept<()> {
    let mut put = transaction.prepare_cached(
        "INSERT INTO leases (key, token, expires) VALUES (?1, ?2, 0)
         ON CONFLICT (key) DO UPDATE SET token = max(token, excluded.token)",
    )?;
    for (key, token) in elsewhere {
        put.execute(params![key, token])?;
    }
    transaction.execute("UPDATE leases SET token = token + 1, holder = NULL, expires = 0", [])?;
    Ok(())
}

/// Leases that somebody has not given back.
pub(crate) fn holders(connection: &Connection) -> Kept<Vec<Holder>> {
    let mut select = connection.prepare_cached("SELECT key FROM leases WHERE holder IS NOT NULL ORDER BY key")?;
    let keys = select.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    let mut holders = Vec::new();
    for key in keys {
        let Some(row) = row(connection, &key)? else { continue };
        let until = Timestamp::from_millisecond(row.expires).map_err(|error| Trouble::row("a lease's end", &error))?;
        holders.push(Holder {
            who: row.holder.unwrap_or_default(),
            pid: count("a lease's process", row.process.pid)? as u64,
            here: row.process.is_here(),
            dead: row.process.is_dead(),
            since: parse("a lease's time", &row.since)?,
            until,
            key,
        });
    }
    Ok(holders)
}

/// Takes a lease, or says who has it.
pub(crate) fn take(transaction: &Transaction<'_>, key: &str, who: &str, ttl_ms: u64) -> Kept<Lease> {
    let now = Timestamp::now();
    if let Some(all) = row(transaction, ALL)?.filter(|all| key != ALL && all.is_held(now.as_millisecond())) {
        let message = format!("the store is about to be replaced: {} has it", all.holder());
        return Err(Trouble::Refused(refusal("busy", message, Some("run it again once that is done"))));
    }
    let last = row(transaction, key)?;
    if let Some(last) = last.as_ref().filter(|last| last.is_held(now.as_millisecond())) {
        let until = Timestamp::from_millisecond(last.expires).map_or_else(|_| "later".to_owned(), |at| at.to_string());
        return Err(Trouble::Refused(refusal(
            "busy",
            format!("{key} is held by {} until {until}", last.holder()),
            Some("wait for it to end; where that process is gone, the lease ends by itself at that time"),
        )));
    }
    if let Some(last) = last.as_ref().filter(|last| last.holder.is_some()) {
        tracing::info!(key, from = last.holder(), "took over a lease whose holder is gone");
    }
    let token = last.map_or(0, |last| last.token) + 1;
    let this = Process::this();
    transaction
        .prepare_cached(
            "INSERT INTO leases (key, token, holder, pid, started, machine, since, expires)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (key) DO UPDATE SET token = excluded.token, holder = excluded.holder, pid = excluded.pid,
               started = excluded.started, machine = excluded.machine, since = excluded.since,
               expires = excluded.expires",
        )?
        .execute(params![
            key,
            token,
            who,
            this.pid,
            this.started,
            this.machine,
            now.to_string(),
            expiry(now, ttl_ms)
        ])?;
    Ok(Lease { key: key.to_owned(), token: count("a lease's token", token)? as u64 })
}

/// Keeps a lease that nobody else has taken, even where its time was up.
pub(crate) fn renew(transaction: &Transaction<'_>, lease: &Lease, ttl_ms: u64) -> Kept<()> {
    let kept = transaction
        .prepare_cached("UPDATE leases SET expires = ?3 WHERE key = ?1 AND token = ?2 AND holder IS NOT NULL")?
        .execute(params![lease.key, number(lease.token), expiry(Timestamp::now(), ttl_ms)])?;
    if kept == 0 { Err(Trouble::Refused(fenced(lease, row(transaction, &lease.key)?.as_ref()))) } else { Ok(()) }
}

/// Gives a lease back.
pub(crate) fn release(transaction: &Transaction<'_>, lease: &Lease) -> Kept<()> {
    transaction
        .prepare_cached("UPDATE leases SET holder = NULL, expires = 0 WHERE key = ?1 AND token = ?2")?
        .execute(params![lease.key, number(lease.token)])?;
    Ok(())
}

/// Refuses a write under a lease that is not the caller's any more. What has been
/// done may still be recorded after the lease's time, as long as nobody else has it.
pub(crate) fn require(transaction: &Transaction<'_>, lease: &Lease) -> Kept<()> {
    held(transaction, lease).map(|_| ())
}

/// Refuses to begin something under a lease that is not the caller's, or whose time is
/// up: another may take it at any moment, while the effect is under way.
pub(crate) fn require_in_time(transaction: &Transaction<'_>, lease: &Lease) -> Kept<()> {
    let row = held(transaction, lease)?;
    if row.expires <= Timestamp::now().as_millisecond() {
        return Err(Trouble::Refused(refusal(
            "fenced",
            format!("the time of the lease on {} is up, so nothing is begun under it", lease.key),
            Some("run it again; if this happens often, the machine is too busy to renew its leases in time"),
        )));
    }
    Ok(())
}

fn held(transaction: &Transaction<'_>, lease: &Lease) -> Kept<Row> {
    match row(transaction, &lease.key)? {
        Some(row) if row.token == number(lease.token) && row.holder.is_some() => Ok(row),
        row => Err(Trouble::Refused(fenced(lease, row.as_ref()))),
    }
}

fn fenced(lease: &Lease, now: Option<&Row>) -> StoreError {
    let holder = now.map_or_else(|| "nobody".to_owned(), Row::holder);
    refusal(
        "fenced",
        format!(
            "the lease on {} was lost: it is {holder}'s now, so nothing more is written under the old one",
            lease.key
        ),
        Some("run it again: the next run looks at the target anew"),
    )
}

fn expiry(now: Timestamp, ttl_ms: u64) -> i64 {
    now.as_millisecond().saturating_add(number(ttl_ms))
}
