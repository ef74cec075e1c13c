//! What was done to each resource. The commit, its author and signer, who asked and
//! who approved are the run's, and are told with each line.

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};
use tidelock_model::name::Identity;
use tidelock_model::plugin::PluginRef;
use tidelock_model::port::Filter;
use tidelock_model::run::{HistoryLine, Intent, IntentChange};

use crate::column::{by_run, from_word, limit, parse, word};
use crate::error::Kept;
use crate::inventory;

/// Adds a line, before the ledger moves.
pub(crate) fn add(
    transaction: &Transaction<'_>,
    at: Timestamp,
    intent: &Intent,
    change: &IntentChange,
    outcome: &str,
    why: Option<&str>,
) -> Kept<()> {
    let address = &change.address;
    transaction
        .prepare_cached(
            "INSERT INTO history (at, run, source, stack, target, address, identity, action, cause, outcome,
               moved_from, plugin, fault)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(params![
            at.to_string(),
            intent.run,
            address.source.as_str(),
            address.stack.as_str(),
            address.target.as_str(),
            address.to_string(),
            change.identity.as_str(),
            word(&change.action)?,
            word(&change.cause)?,
            outcome,
            change.moved_from.as_ref().map(ToString::to_string),
            plugin(transaction, intent, change)?,
            why,
        ])?;
    Ok(())
}

/// Which plugin is behind a change: the one that writes the new line, else the one
/// that wrote the old, else the one that proposed the effects, of which only the name
/// is known.
fn plugin(transaction: &Transaction<'_>, intent: &Intent, change: &IntentChange) -> Kept<Option<String>> {
    if let Some(entry) = &change.entry {
        return Ok(Some(in_full(&entry.plugin)));
    }
    if let Some(line) = inventory::line(transaction, &change.address.target, &change.identity)? {
        return Ok(Some(in_full(&line.plugin)));
    }
    let proposed = intent.effects.iter().find(|effect| effect.identity == change.identity);
    Ok(proposed.map(|effect| effect.plugin.clone()))
}

fn in_full(plugin: &PluginRef) -> String {
    format!("{} {} {}", plugin.name, plugin.version, plugin.digest)
}

/// What was done to resources, newest first.
pub(crate) fn lines(connection: &Connection, filter: &Filter) -> Kept<Vec<HistoryLine>> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT history.at, history.run, address, identity, action, cause, history.outcome, runs.revision, author,
           signer, who, approver, plugin, history.fault
         FROM history JOIN runs ON runs.id = history.run
         WHERE (?1 IS NULL OR history.stack = ?1) AND (?2 IS NULL OR history.target = ?2)
           AND (?3 IS NULL OR instr(address, ?3) > 0) AND {}
         ORDER BY history.seq DESC LIMIT ?5",
        by_run(filter.run.as_deref(), "history.run")
    ))?;
    let mut rows =
        select.query(params![filter.stack, filter.target, filter.address, filter.run, limit(filter.limit)])?;
    let mut lines = Vec::new();
    while let Some(row) = rows.next()? {
        lines.push(HistoryLine {
            at: parse("a time of history", &row.get::<_, String>(0)?)?,
            run: row.get(1)?,
            address: parse("an address of history", &row.get::<_, String>(2)?)?,
            identity: Identity::new(row.get::<_, String>(3)?),
            action: from_word("an action of history", row.get(4)?)?,
            cause: from_word("a cause of history", row.get(5)?)?,
            end: row.get(6)?,
            revision: row.get(7)?,
            author: row.get(8)?,
            signer: row.get(9)?,
            who: row.get(10)?,
            approver: row.get(11)?,
            plugin: row.get(12)?,
            fault: row.get(13)?,
        });
    }
    Ok(lines)
}
