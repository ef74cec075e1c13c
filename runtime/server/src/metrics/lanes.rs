//! Where each lane stands: one series a lane, and a count for each status. And what is wrong with each source.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use tidelock_model::name::{Lane, Name};
use tidelock_model::port::{Store, StoreError};
use tidelock_model::run::Status;
use tidelock_reconcile::Counting;

use super::{Unread, Watch, word};

/// How old what was read may be: whoever asks more often is no reason to read more often.
const FRESH: Duration = Duration::from_secs(1);

const STATUSES: [Status; 9] = [
    Status::Converged,
    Status::Pending,
    Status::Drifted,
    Status::Waiting,
    Status::Failed,
    Status::Degraded,
    Status::Suspended,
    Status::Orphaned,
    Status::Unknown,
];

/// The lanes as they were last read.
#[derive(Default)]
pub(super) struct Lanes(Mutex<Read>);

#[derive(Default)]
struct Read {
    at: Option<Instant>,
    lanes: Vec<(Lane, Status)>,
    problems: Vec<(Name, usize)>,
}

impl Lanes {
    /// Reads them anew, where what was read is old. What a guard stands over, and what nobody looked at since
    /// another revision counts, is told as `tidelock status` tells it.
    pub(super) fn refresh(&self, store: &dyn Store, guards: &Watch, sources: &[Name]) -> Result<(), Unread> {
        let mut read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if read.at.is_none_or(|at| at.elapsed() >= FRESH) {
            let mut records = store.lanes().map_err(Unread::Store)?;
            let (guards, now) = (guards().map_err(Unread::Guards)?, Timestamp::now());
            let counting = Counting::now(store, sources, now).map_err(Unread::Store)?;
            for record in &mut records {
                tidelock_reconcile::standing(record, &guards, now);
                counting.judge(record);
            }
            let lanes = records.into_iter().map(|record| (record.lane, record.status)).collect();
            let problems = sources.iter().map(|source| Ok((source.clone(), wrong(store, source)?)));
            let problems = problems.collect::<Result<_, StoreError>>().map_err(Unread::Store)?;
            *read = Read { at: Some(Instant::now()), lanes, problems };
        }
        Ok(())
    }
}

/// How many things keep a source, or stacks of it, from being followed.
fn wrong(store: &dyn Store, source: &Name) -> Result<usize, StoreError> {
    let stacks = tidelock_reconcile::problems(store, source)?.len();
    Ok(usize::from(store.stale(source)?.is_some()) + store.trouble(source)?.notices.len() + stacks)
}

/// Writes them.
pub(super) struct Collect(pub(super) Arc<Lanes>);

impl fmt::Debug for Collect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lanes")
    }
}

impl Collector for Collect {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let read = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let help = "Where a lane stands: 1 for its status, no series for the others.";
        let mut each = encoder.encode_descriptor("lane_status", help, None, MetricType::Gauge)?;
        for (Lane { source, stack, target }, status) in &read.lanes {
            let labels = [
                ("source", source.as_str()),
                ("stack", stack.as_str()),
                ("target", target.as_str()),
                ("status", &word(status)),
            ];
            each.encode_family(&labels)?.encode_gauge(&1_i64)?;
        }
        let mut counts = encoder.encode_descriptor("lanes", "Lanes by where they stand.", None, MetricType::Gauge)?;
        for status in STATUSES {
            let count = read.lanes.iter().filter(|(_, it)| *it == status).count();
            let labels = [("status", word(&status))];
            counts.encode_family(&labels)?.encode_gauge(&i64::try_from(count).unwrap_or(i64::MAX))?;
        }
        let help = "What keeps a source, or stacks of it, from being followed, as `tidelock status` tells it.";
        let mut problems = encoder.encode_descriptor("source_problems", help, None, MetricType::Gauge)?;
        for (source, count) in &read.problems {
            let labels = [("source", source.as_str())];
            problems.encode_family(&labels)?.encode_gauge(&i64::try_from(*count).unwrap_or(i64::MAX))?;
        }
        Ok(())
    }
}
