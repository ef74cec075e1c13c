//! The revision that counts for each lane now, whatever was last looked at.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tidelock_model::config::Config;
use tidelock_model::hold::{Hold, Pin};
use tidelock_model::name::{Lane, Name};
use tidelock_model::plan::Wait;
use tidelock_model::port::{LaneRecord, Store, StoreError};
use tidelock_model::revision::Revision;
use tidelock_model::run::Status;
use tidelock_plan::{gate, holds};

use crate::error::RunError;
use crate::runtime::Runtime;

/// The revisions in force, the pins in their place, and what people hold.
#[derive(Debug, Clone, Default)]
pub struct Counting {
    in_force: BTreeMap<Name, Revision>,
    pins: Vec<Pin>,
    holds: Vec<Hold>,
    now: Timestamp,
    /// Where the config is known too.
    config: Option<Config>,
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
        Ok(Self { in_force, pins, holds: store.holds()?, now, config: None })
    }

    /// The same by a config: what it does not declare is nobody's.
    #[must_use]
    pub fn declared(self, config: &Config) -> Self {
        Self { config: Some(config.clone()), ..self }
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

    /// Tells how a lane stands now, which was told when somebody looked: what a person holds or let go
    /// since, and what the config declares no more. What is behind is not known to be as Git says, and what
    /// stays on the target though it left Git is not.
    pub fn judge(&self, record: &mut LaneRecord) {
        if let Some(why) = self.undeclared(&record.lane).filter(|_| record.status != Status::Orphaned) {
            (record.status, record.why) = (Status::Orphaned, Some(why));
        }
        let holds: Vec<Wait> =
            self.holds.iter().filter(|hold| hold.holds(&record.lane, self.now)).map(holds::wait).collect();
        let held = holds::status(&holds, record.status);
        // A stop mends nothing that failed.
        let masked = held == Status::Waiting && matches!(record.status, Status::Failed | Status::Degraded);
        if held != record.status && record.status != Status::Orphaned && !masked {
            (record.status, record.why) = (held, holds.first().map(|wait| wait.message.clone()));
        } else if record.status == Status::Suspended && holds::status(&holds, Status::Converged) != Status::Suspended {
            let why = "what held it is over, and nobody looked since".to_owned();
            (record.status, record.why) = (Status::Pending, Some(why));
        }
        if record.status == Status::Converged {
            let behind = self.behind(record).map(|wait| (Status::Pending, wait.message));
            let open = || record.waits.iter().find(|wait| !gate::holds_up(wait));
            if let Some((status, why)) = behind.or_else(|| Some((Status::Waiting, open()?.message.clone()))) {
                (record.status, record.why) = (status, Some(why));
            }
        }
    }

    /// What a lane was made of and is declared no more.
    fn undeclared(&self, lane: &Lane) -> Option<String> {
        let config = self.config.as_ref()?;
        if !config.targets.contains_key(&lane.target) {
            return Some(format!("the config declares no target {} any more", lane.target));
        }
        let source = &lane.source;
        (!config.sources.contains_key(source)).then(|| format!("the config declares no source {source} any more"))
    }
}

/// Notes that a lane should hold something else since, and is to be looked at.
pub(crate) fn reopened(runtime: &Runtime, lane: &Lane, why: &str) -> Result<(), RunError> {
    let Some(mut record) = runtime.store.lane(lane)?.filter(|record| record.status == Status::Converged) else {
        return Ok(());
    };
    record.status = Status::Pending;
    record.why = Some(why.to_owned());
    record.since = Some(runtime.clock.now());
    Ok(runtime.store.put_lane(&record)?)
}
