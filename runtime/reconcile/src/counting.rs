//! The revision that counts for each lane now, whatever was last looked at.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tidelock_model::hold::Pin;
use tidelock_model::name::{Lane, Name};
use tidelock_model::plan::Wait;
use tidelock_model::port::{LaneRecord, Store, StoreError};
use tidelock_model::revision::Revision;
use tidelock_model::run::Status;

/// The revisions in force, and the pins in their place.
#[derive(Debug, Clone, Default)]
pub struct Counting {
    in_force: BTreeMap<Name, Revision>,
    pins: Vec<Pin>,
}

impl Counting {
    /// As the store knows it of the declared sources.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn now<'n>(
        store: &dyn Store,
        sources: impl IntoIterator<Item = &'n Name>,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let mut pins = store.pins()?;
        pins.retain(|pin| pin.until.is_none_or(|until| now < until));
        let mut in_force = BTreeMap::new();
        for source in sources {
            in_force.extend(store.revision(source)?.map(|revision| (source.clone(), revision)));
        }
        Ok(Self { in_force, pins })
    }

    /// The pin of a lane's stack.
    pub(crate) fn pin(&self, lane: &Lane) -> Option<&Pin> {
        self.pins.iter().find(|pin| pin.source == lane.source && pin.stack == lane.stack)
    }

    /// The revision that a lane's stack is pinned to, else the one in force for its source.
    #[must_use]
    pub fn revision(&self, lane: &Lane) -> Option<&Revision> {
        self.pin(lane).map(|pin| &pin.revision).or_else(|| self.in_force.get(&lane.source))
    }

    /// Why a lane is not known to be as Git says: nobody looked at it since another revision counts.
    #[must_use]
    pub fn behind(&self, record: &LaneRecord) -> Option<Wait> {
        let revision = self.revision(&record.lane)?;
        let planned = record.planned.as_ref().is_some_and(|planned| planned.id == revision.id);
        (!planned && record.status != Status::Orphaned).then(|| {
            let message = format!("revision {} is in force and was not looked at here yet", revision.short());
            Wait::new("not-planned", message)
        })
    }

    /// Tells how a lane stands that was as Git said before: behind, it is not known to be so.
    pub fn judge(&self, record: &mut LaneRecord) {
        if record.status == Status::Converged
            && let Some(wait) = self.behind(record)
        {
            (record.status, record.why) = (Status::Pending, Some(wait.message));
        }
    }
}
