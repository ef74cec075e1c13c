//! What the ledger will say once a plan is done.
//!
//! Made with the plan, so that what is recorded is decided before anything happens.

use std::collections::BTreeMap;

use tidelock_model::inventory::InventoryEntry;
use tidelock_model::name::{Address, Identity, Lane};
use tidelock_model::plan::{Action, Cause, Change};
use tidelock_model::run::Trigger;

/// What becomes of the ledger with one change.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerLine {
    /// What it is on its target.
    pub identity: Identity,
    /// The new line; `None` where the line goes. Its `run` is empty: the loop, which
    /// names runs, fills it in.
    pub entry: Option<InventoryEntry>,
    /// For a move: where it was before.
    pub moved_from: Option<Address>,
    /// What becomes due with it.
    pub triggers: Vec<Trigger>,
    /// Why.
    pub cause: Cause,
    /// What is to become of it.
    pub action: Action,
}

/// The ledger's lines of a plan, by address.
///
/// An address may have several: under an old name a new identity is made and the old
/// one removed, and a resource may change and be triggered in one plan. So a line is
/// looked up by its change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ledger(BTreeMap<Address, Vec<LedgerLine>>);

impl Ledger {
    pub(crate) fn insert(&mut self, address: Address, line: LedgerLine) {
        self.0.entry(address).or_default().push(line);
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (address, lines) in other.0 {
            self.0.entry(address).or_default().extend(lines);
        }
    }

    pub(crate) fn only(&self, lanes: &[Lane]) -> Self {
        let of = |address: &Address| lanes.contains(&address.lane());
        Self(self.0.iter().filter(|(address, _)| of(address)).map(|(a, lines)| (a.clone(), lines.clone())).collect())
    }

    /// The line of a change; `None` where the ledger stays as it is (`none`, `deferred`).
    #[must_use]
    pub fn get(&self, change: &Change) -> Option<&LedgerLine> {
        self.0
            .get(&change.address)?
            .iter()
            .find(|line| line.identity == change.identity && line.action == change.action)
    }

    /// All lines, by address.
    pub fn iter(&self) -> impl Iterator<Item = (&Address, &LedgerLine)> {
        self.0.iter().flat_map(|(address, lines)| lines.iter().map(move |line| (address, line)))
    }

    /// Whether nothing would be recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
