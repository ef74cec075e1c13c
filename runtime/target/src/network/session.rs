//! A visit to a network for several effects: one thread in the namespace, which looks once
//! and keeps what it saw for as long as that is surely still so.

use std::time::{Duration, Instant};

use tidelock_model::error::{Blame, Fault};
use tidelock_model::network::{NetworkEffect, Object, ObjectName};
use tokio::sync::{mpsc, oneshot};

use super::view::View;
use super::{Namespace, fault, find, links_here, nft, opened, put, sysctl};

/// A look older than this is taken anew. A thousand routes take some tens of milliseconds,
/// so that each of them need not ask for all.
const FRESH: Duration = Duration::from_millis(100);

struct Job {
    effect: NetworkEffect,
    before: Option<Option<Object>>,
    answer: oneshot::Sender<Result<(), Fault>>,
}

/// The visit. It ends when this is dropped.
pub struct Session {
    jobs: mpsc::UnboundedSender<Job>,
}

impl Session {
    pub(super) fn begin(namespace: Namespace) -> Result<Self, Fault> {
        let (jobs, work) = mpsc::unbounded_channel();
        let failed = |error| Fault::new("io", Blame::Host, format!("cannot start a thread: {error}"));
        std::thread::Builder::new()
            .name("network".to_owned())
            .spawn(move || serve(&namespace, work))
            .map_err(failed)?;
        Ok(Self { jobs })
    }

    /// Performs one effect. The caller has decided on the grant. `before` is what must still
    /// be there; `None` asks nothing. Blocking.
    ///
    /// # Errors
    /// `changed`; the kernel refuses; something that the effect needs is not there.
    pub fn perform(&self, effect: &NetworkEffect, before: Option<&Option<Object>>) -> Result<(), Fault> {
        let gone = || Fault::new("panic", Blame::Host, "work in a network namespace panicked");
        let (answer, answered) = oneshot::channel();
        let job = Job { effect: effect.clone(), before: before.cloned(), answer };
        self.jobs.send(job).map_err(|_| gone())?;
        answered.blocking_recv().map_err(|_| gone())?
    }
}

fn serve(namespace: &Namespace, mut work: mpsc::UnboundedReceiver<Job>) {
    let there = namespace.stay();
    let mut looked = (Instant::now(), None);
    while let Some(job) = work.blocking_recv() {
        let done = there.clone().and_then(|()| perform(&mut looked, &job.effect, job.before.as_ref()));
        // Nobody waits for it any more.
        let _ = job.answer.send(done);
    }
}

/// Whether what changed since it was looked at takes nothing of anybody's away. What an effect
/// before this one swept along (routes of a link that went down) is put anew or is gone anyway;
/// a link that is only set, and not made, may have been made by an effect before.
fn harmless(effect: &NetworkEffect, before: Option<&Object>, now: Option<&Object>) -> bool {
    let sets = matches!(effect, NetworkEffect::Put { object: Object::Link(link) } if link.kind.is_none());
    now.is_none() || before.is_none() && sets
}

fn perform(
    (since, view): &mut (Instant, Option<View>),
    effect: &NetworkEffect,
    before: Option<&Option<Object>>,
) -> Result<(), Fault> {
    if since.elapsed() > FRESH {
        (*since, *view) = (Instant::now(), None);
    }
    let name = effect.object();
    let now = find(view, &name)?;
    if let Some(before) = before
        && *before != now
        && !harmless(effect, before.as_ref(), now.as_ref())
    {
        return Err(fault("changed", format!("{name} changed since it was looked at"))
            .hint("plan again: the new plan starts from what is there now"));
    }
    let done = match effect {
        NetworkEffect::Put { object: Object::Sysctl(setting) } => sysctl::write(setting),
        NetworkEffect::Put { object: Object::Table(table) } => nft::replace(table, &links_here()?),
        NetworkEffect::Put { object } => put::put(opened(view)?, object, now.as_ref()),
        // It stays as it is: the kernel has no setting to go back to.
        NetworkEffect::Remove { object: ObjectName::Sysctl { .. } } => Ok(()),
        NetworkEffect::Remove { object: ObjectName::Table { family, name } } => nft::remove(family, name),
        NetworkEffect::Remove { object } => put::remove(opened(view)?, object, now.as_ref()),
    };
    if let Some(view) = view {
        view.forget(&name);
    }
    done
}
