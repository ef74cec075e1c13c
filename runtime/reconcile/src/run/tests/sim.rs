//! A clock that the tests own, and a repository that can go away: days pass in
//! milliseconds, since time moves only when everybody waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use async_trait::async_trait;
use jiff::Timestamp;
use tidelock_model::port::{Clock, Fetched, Source, SourceError, Want};
use tidelock_model::revision::Revision;

/// How often a sleeper lets all others go first before it moves the time.
const TURNS: u32 = 8;

/// The simulated time. Sleeping to its end moves it, once nobody has anything else to do.
pub(super) struct Sim {
    now: AtomicI64,
    /// Time does not move beyond this.
    limit: AtomicI64,
    sleepers: Mutex<BTreeSet<(i64, u64)>>,
    last: AtomicU64,
}

impl Sim {
    pub(super) fn new() -> Arc<Self> {
        let start = 1_700_000_000_000;
        Arc::new(Self {
            now: AtomicI64::new(start),
            limit: AtomicI64::new(start),
            sleepers: Mutex::default(),
            last: AtomicU64::new(0),
        })
    }

    /// Lets everybody do what is to be done in so many ms.
    pub(super) async fn pass(&self, ms: i64) {
        let until = self.now.load(Ordering::SeqCst) + ms;
        self.limit.store(until, Ordering::SeqCst);
        while self.now.load(Ordering::SeqCst) < until {
            tokio::task::yield_now().await;
        }
        // What was woken at the last moment goes its way.
        for _ in 0..64 {
            tokio::task::yield_now().await;
        }
    }
}

/// The clock of a simulation.
pub(super) struct SimClock(pub(super) Arc<Sim>);

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.now.load(Ordering::SeqCst)).unwrap()
    }

    fn uptime(&self) -> u64 {
        u64::try_from(self.0.now.load(Ordering::SeqCst)).unwrap()
    }

    fn sleep(&self, ms: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let at = self.0.now.load(Ordering::SeqCst) + i64::try_from(ms).unwrap();
        let id = self.0.last.fetch_add(1, Ordering::SeqCst);
        self.0.sleepers.lock().unwrap().insert((at, id));
        Box::pin(Sleep { sim: Arc::clone(&self.0), at, id, turns: 0 })
    }
}

struct Sleep {
    sim: Arc<Sim>,
    at: i64,
    id: u64,
    turns: u32,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let now = self.sim.now.load(Ordering::SeqCst);
        if now >= self.at {
            return Poll::Ready(());
        }
        self.turns += 1;
        if self.turns > TURNS && self.sim.sleepers.lock().unwrap().first() == Some(&(self.at, self.id)) {
            let to = self.at.min(self.sim.limit.load(Ordering::SeqCst));
            self.sim.now.store(to.max(now), Ordering::SeqCst);
            if to >= self.at {
                return Poll::Ready(());
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.sim.sleepers.lock().unwrap().remove(&(self.at, self.id));
    }
}

/// A source over another one: counts what is asked of the server, which can go away. What
/// was fetched once can be opened again without it.
pub(super) struct Remote {
    pub(super) source: Arc<dyn Source>,
    pub(super) asked: AtomicUsize,
    pub(super) opened: AtomicUsize,
    pub(super) down: AtomicBool,
    cache: Mutex<BTreeMap<String, Fetched>>,
}

impl Remote {
    pub(super) fn of(source: Arc<dyn Source>) -> Arc<Self> {
        Arc::new(Self {
            source,
            asked: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
            down: AtomicBool::new(false),
            cache: Mutex::default(),
        })
    }
}

#[async_trait]
impl Source for Remote {
    async fn fetch_with(&self, want: &Want, last: Option<&Revision>, _: &[String]) -> Result<Fetched, SourceError> {
        if let Want::Rev(id) = want {
            self.opened.fetch_add(1, Ordering::SeqCst);
            let kept = self.cache.lock().unwrap().get(id).cloned();
            return kept.ok_or_else(|| SourceError::new("not-found", format!("no commit {id}")));
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            return Err(SourceError::new("unreachable", "no route to host").retryable());
        }
        let fetched = self.source.fetch(want, last).await?;
        self.cache.lock().unwrap().insert(fetched.revision.id.clone(), fetched.clone());
        Ok(fetched)
    }

    async fn tag(&self, name: &str) -> Result<Option<String>, SourceError> {
        self.source.tag(name).await
    }

    async fn descends(&self, tip: &str, base: &str) -> Result<bool, SourceError> {
        self.source.descends(tip, base).await
    }

    fn server(&self) -> Option<(String, u16)> {
        self.source.server()
    }
}
