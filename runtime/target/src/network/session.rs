//! A visit to a network for several effects: a thread in the namespace, which looks once
//! and keeps what it saw for as long as that is surely still so.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidelock_model::error::{Blame, Fault, NOT_OURS};
use tidelock_model::network::{Link, NetworkEffect, Object, ObjectName, Wireguard};
use tidelock_model::secret::SecretValue;
use tokio::sync::{mpsc, oneshot};

use super::anew::{Note, Notes, Stood};
use super::view::View;
use super::wireguard::{self, Keys};
use super::words::Words;
use super::{Namespace, WIREGUARD, fault, find, is_wireguard, links_here, nft, opened, put, sysctl};

/// A look older than this is taken anew. A thousand routes take some tens of milliseconds,
/// so that each of them need not ask for all.
const FRESH: Duration = Duration::from_millis(100);

/// A visit by the thread that begins it, which is in the namespace from then on.
pub(crate) struct Visit {
    answers: Option<Arc<PathBuf>>,
    looked: (Instant, Option<View>),
    remembered: Remembered,
    /// Where it is written down what stands on links that are made anew.
    notes: Option<Notes>,
    /// What stood on links that are made anew, by their names.
    stood: BTreeMap<String, Anew>,
    /// Tables with their elements, as they were when an effect on them was first to be taken back.
    tables: BTreeMap<ObjectName, String>,
    /// Addresses and routes that were there when somebody asked to remember them.
    words: Option<Words>,
    /// Whether nothing is said of what of that could not be put back: somebody looks for it.
    silent: bool,
    /// Another thread is in another namespace.
    of_this_thread: PhantomData<*const ()>,
}

/// What stood on a link that is made anew, and where that is written down.
struct Anew {
    stood: Stood,
    note: Option<Note>,
}

impl Anew {
    fn done(self) -> Result<(), Fault> {
        self.note.map_or(Ok(()), Note::done)
    }
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
        let (notes, tables, words, silent) = (None, BTreeMap::new(), None, false);
        Ok(Self { answers, looked, remembered, notes, stood, tables, words, silent, of_this_thread: PhantomData })
    }

    /// The same, which writes down what stands on links that it makes anew.
    pub(super) fn noting(self, notes: Option<Notes>) -> Self {
        Self { notes, ..self }
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
        match effect {
            NetworkEffect::Put { object: Object::Link(link) } => match self.begun(link)? {
                Some(anew) => self.make_anew(link, anew, before, keys),
                None => self.one(effect, before, keys),
            },
            NetworkEffect::Remove { object: ObjectName::Link { name } } => {
                let removed = self.one(effect, before, keys);
                if removed.is_err()
                    && let Some(anew) = self.stood.remove(name)
                {
                    anew.done()?;
                }
                removed
            }
            _ => self.one(effect, before, keys),
        }
    }

    fn one(
        &mut self,
        effect: &NetworkEffect,
        before: Option<&Option<Object>>,
        keys: &Keys,
    ) -> Result<Vec<String>, Fault> {
        let mut wires = Wires { keys, remembered: &mut self.remembered, tables: &self.tables };
        let answers = self.answers.as_ref().map(|folder| folder.as_path());
        perform(&mut self.looked, effect, before, &mut wires, answers)
    }

    /// What stood on a link that this visit removed to make it anew, or somebody who was killed.
    fn begun(&mut self, link: &Link) -> Result<Option<Anew>, Fault> {
        if let Some(anew) = self.stood.remove(&link.name) {
            return Ok(Some(anew));
        }
        let notes = self.notes.as_ref().filter(|_| link.kind.is_some());
        let left = notes.map_or(Ok(None), |notes| notes.left(&link.name))?;
        Ok(left.map(|(stood, note)| Anew { stood, note: Some(note) }))
    }

    /// Makes a link with what stood on the old one; where that is refused, the old one.
    fn make_anew(
        &mut self,
        link: &Link,
        anew: Anew,
        before: Option<&Option<Object>>,
        keys: &Keys,
    ) -> Result<Vec<String>, Fault> {
        let put = |link: Link| NetworkEffect::Put { object: Object::Link(link) };
        let made = self.one(&put(anew.stood.completed(link)), before, keys);
        let (mut lost, failed) = match made {
            Ok(lost) => (lost, None),
            Err(fault) if self.is_there(&link.name) => {
                self.stood.insert(link.name.clone(), anew);
                return Err(fault);
            }
            // Nobody is helped by neither the old one nor the new one.
            Err(fault) => {
                if let Err(why) = self.one(&put(anew.stood.link().clone()), None, keys) {
                    self.stood.insert(link.name.clone(), anew);
                    let message = format!("{}; and the link that was there cannot be made again: {why}", fault.message);
                    return Err(Fault { message, ..fault });
                }
                let message = format!("{}; the link that was there was made again", fault.message);
                (vec![], Some(Fault { message, ..fault }))
            }
        };
        lost.extend(self.put_back(&anew.stood)?);
        anew.done()?;
        match failed {
            None if self.silent => Ok(vec![]),
            None => Ok(lost),
            Some(fault) if lost.is_empty() => Err(fault),
            Some(fault) => {
                Err(Fault { message: format!("{}, without all: {}", fault.message, lost.join("; ")), ..fault })
            }
        }
    }

    fn put_back(&mut self, stood: &Stood) -> Result<Vec<String>, Fault> {
        let view = opened(&mut self.looked.1)?;
        let lost = stood.put_back(view);
        view.forget(&ObjectName::Link { name: stood.link().name.clone() });
        Ok(lost)
    }

    fn is_there(&mut self, link: &str) -> bool {
        self.looked = (Instant::now(), None);
        let name = ObjectName::Link { name: link.to_owned() };
        find(&mut self.looked.1, &name).is_ok_and(|now| now.is_some())
    }

    /// Remembers, for the length of the visit, what stands on a link that is about to be removed and then
    /// made anew: it is put on the new one, but what is called like `except`. Blocking.
    ///
    /// # Errors
    /// The kernel cannot be asked; it cannot be written down.
    pub(crate) fn made_anew(&mut self, link: &str, except: &[ObjectName]) -> Result<(), Fault> {
        self.looked = (Instant::now(), None);
        if let Some(stood) = Stood::on(opened(&mut self.looked.1)?, link, except)? {
            let note = self.notes.as_ref().map(|notes| notes.write(&stood)).transpose()?;
            self.stood.insert(link.to_owned(), Anew { stood, note });
        }
        Ok(())
    }

    /// Remembers the addresses and routes that are there, in the kernel's own words and in memory alone.
    fn memorise(&mut self) -> Result<(), Fault> {
        self.looked = (Instant::now(), None);
        self.words = Some(Words::of(opened(&mut self.looked.1)?)?);
        Ok(())
    }

    /// Performs an inverse, whatever is there, with what only the kernel's words say of a route.
    fn take_back(&mut self, inverse: &NetworkEffect) -> Result<Vec<String>, Fault> {
        let told = self.perform(inverse, None, &Keys::default())?;
        if let (NetworkEffect::Put { object: object @ Object::Route(_) }, Some(words)) = (inverse, &self.words) {
            words.complete(opened(&mut self.looked.1)?, &object.name())?;
        }
        Ok(told)
    }

    /// Puts an object that is gone as it was, in the kernel's own words where these are remembered.
    fn revive(&mut self, object: &Object) -> Result<(), Fault> {
        let name = object.name();
        if self.looked.0.elapsed() > FRESH {
            self.looked = (Instant::now(), None);
        }
        let view = opened(&mut self.looked.1)?;
        match self.words.as_ref().and_then(|words| words.put(view, &name)) {
            Some(done) => {
                view.forget(&name);
                done
            }
            None => self.perform(&NetworkEffect::Put { object: object.clone() }, None, &Keys::default()).map(drop),
        }
    }

    /// See [`super::Network::recover`].
    pub(super) fn recover(mut self, (stood, note): (Stood, Note)) -> Result<(), Fault> {
        let link = stood.link().clone();
        let name = link.name.clone();
        if !self.is_there(&name) {
            let old = NetworkEffect::Put { object: Object::Link(link) };
            if let Err(fault) = self.one(&old, None, &Keys::default()) {
                // What is planned next may make one of that name, and takes the note up.
                tracing::warn!(link = name, %fault, "a link that somebody removed to make it anew cannot be made again");
                return Ok(());
            }
        }
        for what in self.put_back(&stood)? {
            tracing::warn!(link = name, "not all that stood on a link that is made anew could be put back: {what}");
        }
        note.done()
    }

    /// Remembers, for the length of the visit and in memory alone, what an effect would take a
    /// WireGuard interface back to: its keys stand in no plan and in no file. Blocking.
    ///
    /// # Errors
    /// The interface cannot be asked.
    fn remember(&mut self, inverse: &NetworkEffect) -> Result<(), Fault> {
        if let Some(link) = inverse.makes_link() {
            self.made_anew(&link.name, &[])?;
            // One that is made anew has no keys; where these cannot be asked for, that is said once it is made.
            return match link.kind.as_deref() {
                Some(WIREGUARD) => remember(&mut self.remembered, &link.name).or(Ok(())),
                _ => Ok(()),
            };
        }
        match inverse {
            NetworkEffect::Put { object: Object::Wireguard(set) } => remember(&mut self.remembered, &set.link),
            NetworkEffect::Put { object: Object::Table(table) } => {
                self.tables.extend(nft::remembered(table)?.map(|whole| (inverse.object(), whole)));
                Ok(())
            }
            _ => Ok(()),
        }
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
    MadeAnew(String, Vec<ObjectName>),
    Memorise,
    Revive(Box<Object>),
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
    pub(super) fn made_anew(&self, link: &str, except: &[ObjectName]) -> Result<(), Fault> {
        self.have(Work::MadeAnew(link.to_owned(), except.to_vec())).map(drop)
    }

    /// See [`Visit::remember`]. Blocking.
    ///
    /// # Errors
    /// As [`Visit::remember`].
    pub(super) fn remember(&self, inverse: &NetworkEffect) -> Result<(), Fault> {
        self.have(Work::Remember(Box::new(inverse.clone()))).map(drop)
    }

    /// See [`Visit::memorise`]. Blocking.
    ///
    /// # Errors
    /// As [`Visit::memorise`].
    pub(super) fn memorise(&self) -> Result<(), Fault> {
        self.have(Work::Memorise).map(drop)
    }

    /// See [`Visit::revive`]. Blocking.
    ///
    /// # Errors
    /// As [`Visit::perform`].
    pub(super) fn revive(&self, object: &Object) -> Result<(), Fault> {
        self.have(Work::Revive(Box::new(object.clone()))).map(drop)
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
            (Ok(visit), Work::Perform(effect)) => visit.take_back(effect),
            (Ok(visit), Work::Remember(inverse)) => visit.remember(inverse).map(|()| vec![]),
            (Ok(visit), Work::MadeAnew(link, except)) => visit.made_anew(link, except).map(|()| vec![]),
            (Ok(visit), Work::Memorise) => visit.memorise().map(|()| vec![]),
            (Ok(visit), Work::Revive(object)) => visit.revive(object).map(|()| vec![]),
            (Err(fault), _) => Err(fault.clone()),
        };
        // Nobody waits for it any more.
        let _ = job.answer.send(done);
    }
}

/// What WireGuard interfaces were set to when the visit first changed them.
type Remembered = BTreeMap<String, SecretValue>;

/// What some objects need that stands in no effect: keys of WireGuard, and elements of tables as they were.
struct Wires<'v> {
    keys: &'v Keys,
    remembered: &'v mut Remembered,
    tables: &'v BTreeMap<ObjectName, String>,
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
    now.is_none()
        || before.is_none() && sets
        || now.is_some_and(|now| is_as_wanted(effect, now))
        || before.zip(now).is_some_and(|(before, now)| follows(before, now))
}

/// Whether a link differs by the size of its packets alone, and stands on another: the kernel has it follow that one.
fn follows(before: &Object, now: &Object) -> bool {
    let (Object::Link(before), Object::Link(now)) = (before, now) else { return false };
    now.parent.is_some() && Link { mtu: now.mtu, ..before.clone() } == *now
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
            let before = wires.tables.get(&name).map(String::as_str);
            nft::replace(table, now, before, &links_here()?, answers).map(|told| lost = told)
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
