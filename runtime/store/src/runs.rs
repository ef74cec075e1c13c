//! Runs: begun, ended, or cut off.
//!
//! A process that dies writes nothing about it. So a run keeps which process began
//! it, and one that never ended is shown as interrupted when that process is known to
//! be gone, or when the same lane has begun another run since.

use rusqlite::{Connection, Row, Transaction, params};
use tidelock_model::port::Filter;
use tidelock_model::run::{Run, RunCounts, RunEnd};

use crate::column::{self, by_run, count, from_word, limit, maybe_time, number, parse, word};
use crate::error::{Kept, Trouble};
use crate::process::Process;

/// Begins a run.
pub(crate) fn begin(transaction: &Transaction<'_>, run: &Run) -> Kept<()> {
    let known = transaction.prepare_cached("SELECT 1 FROM runs WHERE id = ?1")?.exists([&run.id])?;
    if known {
        return Err(Trouble::invalid(format!("run {} was begun already", run.id)));
    }
    let this = Process::this();
    transaction
        .prepare_cached(
            "INSERT INTO runs (id, source, stack, target, began, who, revision, author, digest, done, failed, skipped,
               unknown, pid, started, machine)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, 0, 0, 0, ?10, ?11, ?12)",
        )?
        .execute(params![
            run.id,
            run.lane.source.as_str(),
            run.lane.stack.as_str(),
            run.lane.target.as_str(),
            run.began.to_string(),
            run.who,
            run.revision,
            run.author,
            run.digest.to_string(),
            this.pid,
            this.started,
            this.machine,
        ])?;
    put(transaction, run)
}

/// Ends a run.
pub(crate) fn end(transaction: &Transaction<'_>, run: &Run) -> Kept<()> {
    put(transaction, run)
}

/// Writes what a run may learn on its way.
fn put(transaction: &Transaction<'_>, run: &Run) -> Kept<()> {
    let RunCounts { done, failed, skipped, unknown } = run.counts;
    let number = |count: usize| number(count as u64);
    let found = transaction
        .prepare_cached(
            "UPDATE runs SET ended = ?2, outcome = ?3, who = ?4, revision = ?5, author = ?6, signer = ?7,
               approver = ?8, digest = ?9, done = ?10, failed = ?11, skipped = ?12, unknown = ?13, fault = ?14
             WHERE id = ?1",
        )?
        .execute(params![
            run.id,
            run.ended.map(|at| at.to_string()),
            run.end.as_ref().map(word).transpose()?,
            run.who,
            run.revision,
            run.author,
            run.signer,
            run.approver,
            run.digest.to_string(),
            number(done),
            number(failed),
            number(skipped),
            number(unknown),
            run.fault,
        ])?;
    if found == 0 {
        return Err(Trouble::invalid(format!("run {} was ended, but never begun", run.id)));
    }
    Ok(())
}

/// Runs, newest first.
pub(crate) fn list(connection: &Connection, filter: &Filter) -> Kept<Vec<Run>> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT id, source, stack, target, began, ended, outcome, who, revision, author, signer, approver, digest,
           done, failed, skipped, unknown, fault, pid, started, machine,
           EXISTS (SELECT 1 FROM runs AS later WHERE later.source = runs.source AND later.stack = runs.stack
             AND later.target = runs.target AND later.seq > runs.seq)
         FROM runs
         WHERE (?1 IS NULL OR stack = ?1) AND (?2 IS NULL OR target = ?2) AND {}
           AND (?3 IS NULL OR EXISTS (SELECT 1 FROM history WHERE run = runs.id AND instr(address, ?3) > 0))
         ORDER BY seq DESC LIMIT ?5",
        by_run(filter.run.as_deref(), "id")
    ))?;
    let mut rows =
        select.query(params![filter.stack, filter.target, filter.address, filter.run, limit(filter.limit)])?;
    let mut runs = Vec::new();
    while let Some(row) = rows.next()? {
        runs.push(read(row)?);
    }
    Ok(runs)
}

fn read(row: &Row<'_>) -> Kept<Run> {
    let tally = |column| count("a run's count", row.get(column)?);
    let mut run = Run {
        id: row.get(0)?,
        lane: column::lane(row.get(1)?, row.get(2)?, row.get(3)?)?,
        began: parse("a run's time", &row.get::<_, String>(4)?)?,
        ended: maybe_time("a run's time", row.get(5)?)?,
        end: row.get::<_, Option<String>>(6)?.map(|text| from_word("a run's end", text)).transpose()?,
        who: row.get(7)?,
        revision: row.get(8)?,
        author: row.get(9)?,
        signer: row.get(10)?,
        approver: row.get(11)?,
        digest: parse("a run's digest", &row.get::<_, String>(12)?)?,
        counts: RunCounts { done: tally(13)?, failed: tally(14)?, skipped: tally(15)?, unknown: tally(16)? },
        fault: row.get(17)?,
    };
    if run.ended.is_none() && run.end.is_none() {
        let begun_by = Process {
            pid: row.get::<_, Option<i64>>(18)?.unwrap_or(0),
            started: row.get::<_, Option<i64>>(19)?.unwrap_or(0),
            machine: row.get(20)?,
        };
        let overtaken: bool = row.get(21)?;
        if overtaken || begun_by.is_dead() {
            run.end = Some(RunEnd::Interrupted);
        }
    }
    Ok(run)
}
