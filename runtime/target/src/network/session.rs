//! A visit to a network for several effects: a thread in the namespace, which looks once
//! and keeps what it saw for as long as that is surely still so.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidelock_model::error::{Blame, Fault, NOT_OURS};
use tidelock_model::network::{NetworkEffect, Object, ObjectName, Wireguard};
use tidelock_model::secret::SecretValue;
use tokio::sync::{mpsc, oneshot};

use super::anew::Stood;
use super::view::View;
use super::wireguard::{self, Keys};
use super::{Namespace, WIREGUARD, fault, find, is_wireguard, links_here, nft, opened, put, sysctl};

/// A look older than this is taken anew. A thousand routes take some tens of milliseconds,
/// so that each of them need not ask for all.
const FRESH: Duration = Duration::from_millis(100);

/// A visit by the thread that begins it, which is in the namespace from then on.
pub(crate) struct Visit {
    answers: Option<Arc<PathBuf>>,
    looked: (Instant, Option<View>),
    remembered: Remembered,
    /// What stood on links that are made anew, by their names.
    stood: BTreeMap<String, Stood>,
    /// Whether nothing is said of what of that could not be put back: somebody looks for it.
    silent: bool,
    /// Another thread is in another namespace.
    of_this_thread: PhantomData<*const ()>,
}

impl Visit {
    /// Takes this thread to a namespace for the rest of its life; `answers` is where what nft makes
    /// of texts is kept.
    ///
    /// # Errors
    /// There is no such namespace, or this process may not enter it.
    pub(super) fn begin(namespace: &Namespace, answers: Option<Arc<PathBuf>>) -> Result<Self, Fault> {
        namespace.stay()?;
        let (looked, remembered, stood) = ((Instant::now(), None), Remembered::new(), BTreeMap::new());
        Ok(Self { answers, looked, remembered, stood, silent: false, of_this_thread: PhantomData })
    }

    /// Performs one effect, with the values of the secrets that it names. The caller has decided on
    /// the grant. `before` is what must still be there; `None` asks nothing. Gives what is to be said of
    /// what was lost, though the effect does not mean it. Blocking.
    ///
    /// # Errors
    /// `changed`; the kernel refuses; something that the effect needs is not there.
    pub(crate) fn perform(
        &mut self,
        effect: &NetworkEffect,
        before: Option<&Option<Object>>,
        keys: &Keys,
    ) -> Result<Vec<String>, Fault> {
        let mut wires = Wires { keys, remembered: &mut self.remembered };
        let answers = self.answers.as_ref().map(|folder| folder.as_path());
        let anew = match effect {
            NetworkEffect::Put { object: Object::Link(link) } => self.stood.get(&link.name).map(|stood| (stood, link)),
            _ => None,
        };
        let Some((stood, link)) = anew else {
            return perform(&mut self.looked, effect, before, &mut wires, answers);
        };
        let effect = NetworkEffect::Put { object: Object::Link(stood.completed(link)) };
        let made = perform(&mut self.looked, &effect, before, &mut wires, answers);
        let is_there = |looked: &mut (Instant, Option<View>)| {
            *looked = (Instant::now(), None);
            find(&mut looked.1, &effect.object()).is_ok_and(|now| now.is_some())
        };
        let (mut lost, failed) = match made {
            Ok(lost) => (lost, None),
            // Nobody is helped by neither the old one nor the new one.
            Err(fault) if !is_there(&mut self.looked) => {
                let old = NetworkEffect::Put { object: Object::Link(stood.link().clone()) };
                if let Err(why) = perform(&mut self.looked, &old, None, &mut wires, answers) {
                    let message = format!("{}; and the link that was there cannot be made again: {why}", fault.message);
                    return Err(Fault { message, ..fault });
                }
                let message = format!("{}; the link that was there was made again", fault.message);
                (vec![], Some(Fault { message, ..fault }))
            }
            Err(fault) => return Err(fault),
        };
        let view = opened(&mut self.looked.1)?;
        lost.extend(stood.put_back(view));
        view.forget(&effect.object());
        match failed {
            None if self.silent => Ok(vec![]),
            None => Ok(lost),
            Some(fault) if lost.is_empty() => Err(fault),
            Some(fault) => {
                Err(Fault { message: format!("{}, without all: {}", fault.message, lost.join("; ")), ..fault })
            }
        }
    }

    /// Remembers, for the length of the visit, what stands on a link that is about to be removed and then
    /// made anew: it is put on the new one. Blocking.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub(crate) fn made_anew(&mut self, link: &str) -> Result<(), Fault> {
        self.looked = (Instant::now(), None);
        let stood = Stood::on(opened(&mut self.looked.1)?, link)?;
        self.stood.extend(stood.map(|stood| (link.to_owned(), stood)));
        Ok(())
    }

    /// Remembers, for the length of the visit and in memory alone, what an effect would take a
    /// WireGuard interface back to: its keys stand in no plan and in no file. Blocking.
    ///
    /// # Errors
    /// The interface cannot be asked.
    fn remember(&mut self, inverse: &NetworkEffect) -> Result<(), Fault> {
        let link = match inverse {
            NetworkEffect::Put { object: Object::Wireguard(set) } => &set.link,
            NetworkEffect::Put { object: Object::Link(link) } if link.kind.is_some() => {
                self.made_anew(&link.name)?;
                // One that is made anew has no keys; where these cannot be asked for, that is said once it is made.
                return match link.kind.as_deref() {
                    Some(WIREGUARD) => remember(&mut self.remembered, &link.name).or(Ok(())),
                    _ => Ok(()),
                };
            }
            _ => return Ok(()),
        };
        remember(&mut self.remembered, link)
    }
}

/// A visit that others have made for them, by a thread of its own. It ends when this is dropped.
pub(super) struct Session {
    jobs: mpsc::UnboundedSender<Job>,
}

struct Job {
    work: Work,
    answer: oneshot::Sender<Result<Vec<String>, Fault>>,
}

enum Work {
    Perform(Box<NetworkEffect>),
    Remember(Box<NetworkEffect>),
    MadeAnew(String),
}

impl Session {
    /// Begins one in a namespace.
    pub(super) fn begin(namespace: Namespace) -> Result<Self, Fault> {
        let (jobs, work) = mpsc::unbounded_channel();
        let failed = |error| Fault::new("io", Blame::Host, format!("cannot start a thread: {error}"));
        std::thread::Builder::new()
            .name("network".to_owned())
            .spawn(move || serve(&namespace, work))
            .map_err(failed)?;
        Ok(Self { jobs })
    }

    /// Performs one effect, whatever is there. Blocking.
    ///
    /// # Errors
    /// As [`Visit::perform`].
    pub(super) fn perform(&self, effect: &NetworkEffect) -> Result<Vec<String>, Fault> {
        self.have(Work::Perform(Box::new(effect.clone())))
    }

    /// See [`Visit::made_anew`]. Blocking.
    ///
    /// # Errors
    /// As [`Visit::made_anew`].
    pub(super) fn made_anew(&self, link: &str) -> Result<(), Fault> {
        self.have(Work::MadeAnew(link.to_owned())).map(drop)
    }

    /// See [`Visit::remember`]. Blocking.
    ///
    /// # Errors
    /// As [`Visit::remember`].
    pub(super) fn remember(&self, inverse: &NetworkEffect) -> Result<(), Fault> {
        self.have(Work::Remember(Box::new(inverse.clone()))).map(drop)
    }

    fn have(&self, work: Work) -> Result<Vec<String>, Fault> {
        let gone = || Fault::new("panic", Blame::Host, "work in a network namespace panicked");
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job { work, answer }).map_err(|_| gone())?;
        answered.blocking_recv().map_err(|_| gone())?
    }
}

fn serve(namespace: &Namespace, mut work: mpsc::UnboundedReceiver<Job>) {
    let mut visit = Visit::begin(namespace, None).map(|visit| Visit { silent: true, ..visit });
    while let Some(job) = work.blocking_recv() {
        let done = match (&mut visit, &job.work) {
            (Ok(visit), Work::Perform(effect)) => visit.perform(effect, None, &Keys::default()),
            (Ok(visit), Work::Remember(inverse)) => visit.remember(inverse).map(|()| vec![]),
            (Ok(visit), Work::MadeAnew(link)) => visit.made_anew(link).map(|()| vec![]),
            (Err(fault), _) => Err(fault.clone()),
        };
        // Nobody waits for it any more.
        let _ = job.answer.send(done);
    }
}

/// What WireGuard interfaces were set to when the visit first changed them.
type Remembered = BTreeMap<String, SecretValue>;

/// What only the settings of WireGuard need.
struct Wires<'v> {
    keys: &'v Keys,
    remembered: &'v mut Remembered,
}

impl Wires<'_> {
    fn put(&mut self, wanted: &Wireguard, now: Option<&Wireguard>) -> Result<(), Fault> {
        // One without a key takes back what the visit did.
        if let (None, Some(old)) = (&wanted.private_key, self.remembered.get(&wanted.link)) {
            return wireguard::restore(&wanted.link, old);
        }
        if now.is_some() {
            remember(self.remembered, &wanted.link)?;
        }
        wireguard::put(wanted, now, self.keys)
    }
}

fn remember(remembered: &mut Remembered, link: &str) -> Result<(), Fault> {
    if !remembered.contains_key(link) {
        remembered.insert(link.to_owned(), wireguard::remembered(link)?);
    }
    Ok(())
}

/// Whether what changed since it was looked at takes nothing of anybody's away. What an effect
/// before this one swept along (routes of a link that went down) is put anew or is gone anyway;
/// a link that is only set, and not made, may have been made by an effect before, and a setting come with it.
fn harmless(effect: &NetworkEffect, before: Option<&Object>, now: Option<&Object>) -> bool {
    let sets = match effect {
        NetworkEffect::Put { object: Object::Link(link) } => link.kind.is_none(),
        // Those of a link come with it, as the kernel has them for new ones.
        NetworkEffect::Put { object: Object::Sysctl(_) } => true,
        _ => false,
    };
    now.is_none() || before.is_none() && sets || now.is_some_and(|now| is_as_wanted(effect, now))
}

/// Whether an object is by now what an effect would make of it. At the start of a system its own
/// files bring up the same network at the same time.
fn is_as_wanted(effect: &NetworkEffect, now: &Object) -> bool {
    let NetworkEffect::Put { object } = effect else { return false };
    let fields = |object: &Object| serde_json::to_value(object).ok();
    let (Some(wanted), Some(now)) = (fields(object), fields(now)) else { return false };
    wanted.as_object().is_some_and(|wanted| wanted.iter().all(|(field, value)| now.get(field) == Some(value)))
}

fn perform(
    (since, view): &mut (Instant, Option<View>),
    effect: &NetworkEffect,
    before: Option<&Option<Object>>,
    wires: &mut Wires<'_>,
    answers: Option<&Path>,
) -> Result<Vec<String>, Fault> {
    let mut lost = vec![];
    if since.elapsed() > FRESH {
        (*since, *view) = (Instant::now(), None);
    }
    let name = effect.object();
    let now = find(view, &name)?;
    if let Some(before) = before
        && *before != now.as_ref().map(Object::lasting)
        && !harmless(effect, before.as_ref(), now.as_ref())
    {
        return Err(fault("changed", format!("{name} changed since it was looked at"))
            .hint("plan again: the new plan starts from what is there now"));
    }
    let known = before.is_some_and(|before| before.is_some() && *before == now.as_ref().map(Object::lasting));
    if let Some(why) = now.as_ref().and_then(|now| effect.not_ours(now, known)) {
        return Err(fault(NOT_OURS, why));
    }
    let done = match effect {
        NetworkEffect::Put { object: Object::Sysctl(setting) } => sysctl::write(setting),
        NetworkEffect::Put { object: Object::Table(table) } => {
            let now = match &now {
                Some(Object::Table(now)) => Some(now),
                _ => None,
            };
            nft::replace(table, now, &links_here()?, answers).map(|told| lost = told)
        }
        NetworkEffect::Put { object: Object::Wireguard(wanted) } => match (&now, is_wireguard(view, &wanted.link)?) {
            (Some(Object::Wireguard(now)), _) => wires.put(wanted, Some(now)),
            (_, true) => wires.put(wanted, None),
            (_, false) => Err(fault("not-found", format!("there is no WireGuard interface {}", wanted.link))
                .hint("have it made: a network.link of the type wireguard")),
        },
        NetworkEffect::Put { object } => put::put(opened(view)?, object, now.as_ref()),
        // It stays as it is: the kernel has no setting to go back to.
        NetworkEffect::Remove { object: ObjectName::Sysctl { .. } } => Ok(()),
        NetworkEffect::Remove { object: ObjectName::Table { family, name } } => nft::remove(family, name),
        NetworkEffect::Remove { object: ObjectName::Wireguard { link } } => match now {
            Some(_) => remember(wires.remembered, link).and_then(|()| wireguard::clear(link)),
            None => Ok(()),
        },
        NetworkEffect::Remove { object } => put::remove(opened(view)?, object, now.as_ref()),
    };
    if let Some(view) = view {
        view.forget(&name);
    }
    done.map(|()| lost)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_somebody_put_meanwhile_as_it_is_to_be_is_no_change() {
        let object = |value: serde_json::Value| serde_json::from_value::<Object>(value).unwrap();
        let route = |via: &str, protocol: Option<u8>| {
            let mut route = json!({"object": "route", "table": 254, "to": "10.1.0.0/16", "metric": 0, "type": "unicast", "via": via});
            if let Some(protocol) = protocol {
                route["protocol"] = protocol.into();
            }
            object(route)
        };
        let put = NetworkEffect::Put { object: route("10.0.0.2", None) };
        assert!(harmless(&put, None, Some(&route("10.0.0.2", Some(201)))));
        assert!(!harmless(&put, None, Some(&route("10.0.0.3", Some(201)))));
        let remove = NetworkEffect::Remove { object: put.object() };
        assert!(!harmless(&remove, None, Some(&route("10.0.0.2", Some(201)))));
    }
}
