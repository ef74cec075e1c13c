//! A person's word on what could not be told by looking: effects that a dead process
//! had begun, and that say `after-crash: ask`.

use tidelock_model::event::RunEvent;
use tidelock_model::name::Address;
use tidelock_model::port::Settled;

use crate::error::RunError;
use crate::recover::needs_a_person;
use crate::run::Leases;
use crate::runtime::Runtime;

/// What a person found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// It happened.
    Done,
    /// It did not, or not whole: it is planned again.
    Redo,
}

/// Resources of all lanes that wait for a person's word, sorted.
///
/// # Errors
/// The store cannot be read.
pub fn in_doubt(runtime: &Runtime) -> Result<Vec<Address>, RunError> {
    let mut found = Vec::new();
    for record in runtime.store.lanes()? {
        for intent in runtime.store.open_intents(&record.lane)?.iter().filter(|intent| needs_a_person(intent)) {
            found.extend(intent.changes.iter().map(|change| change.address.clone()));
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Settles what is in doubt about a resource, by a person's word. The other changes of
/// the same intent are taken at the same word: they were to happen together.
///
/// # Errors
/// Nothing is in doubt there, or the lane is being applied.
pub async fn resolve(runtime: &Runtime, address: &Address, word: Word, who: &str) -> Result<(), RunError> {
    let lane = address.lane();
    let leases = Leases::wait(runtime, &[&lane], who).await?;
    let open: Vec<_> = runtime
        .store
        .open_intents(&lane)?
        .into_iter()
        .filter(|intent| needs_a_person(intent) && intent.changes.iter().any(|change| change.address == *address))
        .collect();
    if open.is_empty() {
        return Err(RunError::selection(format!("nothing is in doubt about {address}"), None));
    }
    let (end, why) = match word {
        Word::Done => ("done", format!("{who} said that it was done")),
        Word::Redo => ("not-begun", format!("{who} said to do it again")),
    };
    let settled: Vec<Settled> = open
        .into_iter()
        .map(|intent| {
            let changes = intent.changes.iter().map(|_| (end.to_owned(), Some(why.clone()))).collect();
            Settled { intent, changes }
        })
        .collect();
    runtime.store.settle(leases.of(&lane)?, runtime.clock.now(), &settled)?;
    for one in settled {
        let (done, not_done) = if word == Word::Done { (one.changes.len(), 0) } else { (0, one.changes.len()) };
        runtime.emit(None, Some(&lane), &RunEvent::Recovered { run: one.intent.run, done, not_done })?;
    }
    Ok(())
}
