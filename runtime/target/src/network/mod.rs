//! The network of a machine: links, addresses, routes, rules, settings, tables of nftables and
//! WireGuard, in the machine's own namespace or in a named one.
//!
//! Start at [`Network`]. `view` shows what is there, `put` is the only module that writes
//! to the kernel over netlink, `sysctl` the only one that writes settings, and `nft` and
//! `wireguard` the only ones that start the programs of those names. `namespace` is how each
//! of them gets where it works, and `confine` where `nft` runs.

mod anew;
mod confine;
mod difference;
mod guard;
mod namespace;
mod nft;
mod program;
mod put;
mod rtnetlink;
mod session;
mod sysctl;
mod view;
mod watch;
mod way;
mod wireguard;
mod words;

use std::path::PathBuf;
use std::sync::Arc;

use tidelock_model::config::Keeper;
use tidelock_model::error::{Blame, Fault};
use tidelock_model::network::{NetworkEffect, Object, ObjectName, Table};
use tidelock_model::observation::SecretProbe;
use tidelock_model::secret::SecretValue;

use self::anew::Notes;
pub(crate) use self::difference::difference;
pub use self::guard::{GuardHelper, keep_guard, listed as guards_in};
pub(crate) use self::guard::{Stuck, arm, arm_names, call, confirm, listed, mark, relieve};
pub use self::namespace::Namespace;
use self::rtnetlink::Rtnetlink;
use self::session::Session;
pub(crate) use self::session::Visit;
use self::view::View;
pub use self::watch::NetworkWatches;
pub(crate) use self::way::touched;
pub(crate) use self::wireguard::Keys;

/// How a provider asks whether a key of WireGuard is a secret's.
const KEY_PROBE: &str = "wireguard-key";

/// The network of one machine. Cheap to clone; holds nothing open.
#[derive(Debug, Clone)]
pub struct Network {
    namespace: Namespace,
    answers: Option<Arc<PathBuf>>,
    keeper: Option<Keeper>,
    notes: Option<Notes>,
}

impl Network {
    /// The network in a namespace.
    #[must_use]
    pub fn new(namespace: Namespace) -> Self {
        Self { namespace, answers: None, keeper: None, notes: None }
    }

    /// The same, with a folder of our own in which it keeps what nft makes of a text.
    #[must_use]
    pub fn keeping(self, answers: Option<PathBuf>) -> Self {
        Self { answers: answers.map(Arc::new), ..self }
    }

    /// The same, with a folder of our own for what stands on links while they are made anew.
    #[must_use]
    pub(crate) fn noting(self, notes: Option<PathBuf>) -> Self {
        Self { notes: notes.map(Notes::new), ..self }
    }

    /// The same network, which its system keeps.
    #[must_use]
    pub fn kept_by(self, keeper: Option<Keeper>) -> Self {
        Self { keeper, ..self }
    }

    /// What its system keeps it in.
    #[must_use]
    pub fn keeper(&self) -> Option<Keeper> {
        self.keeper
    }

    /// What is there under each name; `None` for nothing. Asks the kernel once for each sort
    /// of object, however many names there are. Blocking.
    #[must_use]
    pub fn look(&self, names: &[ObjectName]) -> Vec<Result<Option<Object>, Fault>> {
        let looked = self.namespace.enter(|| Ok(look_here(names)));
        looked.unwrap_or_else(|fault| names.iter().map(|_| Err(fault.clone())).collect())
    }

    /// Performs one effect. The caller has decided on the grant. `before` is what must still be
    /// there; `None` asks nothing. Blocking.
    ///
    /// # Errors
    /// `changed`; the kernel refuses; something that the effect needs is not there.
    pub fn perform(&self, effect: &NetworkEffect, before: Option<&Option<Object>>) -> Result<(), Fault> {
        namespace::on_a_thread(|| self.visit()?.perform(effect, before, &Keys::default()).map(drop))
    }

    /// Begins a visit of this thread, which stays there.
    ///
    /// # Errors
    /// The namespace cannot be entered.
    pub(crate) fn visit(&self) -> Result<Visit, Fault> {
        let visit = Visit::begin(&self.namespace, self.answers.clone())?;
        Ok(visit.noting(self.notes.clone()))
    }

    /// Ends what somebody began who was killed meanwhile: a link that was removed and not made anew is made
    /// again as it was, and what stood on it is put back. Says whether there was anything to do. The caller
    /// has the target's lease. Blocking.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn recover(&self, link: &str) -> Result<bool, Fault> {
        let Some(notes) = &self.notes else { return Ok(false) };
        let Some(left) = notes.left(link)? else { return Ok(false) };
        namespace::on_a_thread(|| self.visit()?.recover(left)).map(|()| true)
    }

    /// Where it is.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// What nft makes of a ruleset in its own language, which must be the one table of this
    /// family and name. Loaded into a namespace of its own, which is thrown away: nothing of
    /// the target is touched, and no file of it is read. Blocking.
    ///
    /// # Errors
    /// The text is not one such table, or asks for what cannot be served.
    pub fn normalise(&self, family: &str, name: &str, text: &str) -> Result<Table, Fault> {
        let links = self.links()?;
        nft::trial::of_text(family, name, text, &links, self.answers.as_ref().map(|folder| folder.as_path()))
    }

    /// Whether a secret is the key that a probe is about; `None` where it is about none. Blocking.
    ///
    /// # Errors
    /// The interface cannot be asked.
    pub(crate) fn matches(&self, probe: &SecretProbe, value: &SecretValue) -> Result<Option<bool>, Fault> {
        if probe.method != KEY_PROBE {
            return Ok(None);
        }
        // `wireguard:wg0`, or with a peer's public key after a space.
        let (name, peer) = match probe.material.split_once(' ') {
            Some((name, peer)) => (name, Some(peer)),
            None => (probe.material.as_str(), None),
        };
        let Ok(ObjectName::Wireguard { link }) = name.parse() else { return Ok(None) };
        self.namespace.enter(|| match is_wireguard(&mut None, &link)? {
            true => wireguard::is_key(&link, peer, value),
            false => Ok(None),
        })
    }

    fn links(&self) -> Result<Vec<String>, Fault> {
        self.namespace.enter(links_here)
    }
}

/// The names of the links in the namespace of this thread.
fn links_here() -> Result<Vec<String>, Fault> {
    let mut view = View::new(Rtnetlink::open()?);
    Ok(view.link_names()?.into_iter().filter(|name| name != "lo").collect())
}

/// The type of a link that WireGuard serves.
const WIREGUARD: &str = "wireguard";

/// What is under each name in the namespace of this thread.
fn look_here(names: &[ObjectName]) -> Vec<Result<Option<Object>, Fault>> {
    let mut view = None;
    names.iter().map(|name| find(&mut view, name)).collect()
}

/// What is there under a name, with a view that is opened once it is needed.
fn find(view: &mut Option<View>, name: &ObjectName) -> Result<Option<Object>, Fault> {
    match name {
        ObjectName::Sysctl { name } => Ok(sysctl::read(name)?.map(Object::Sysctl)),
        ObjectName::Table { family, name } => Ok(nft::list(family, name)?.map(Object::Table)),
        ObjectName::Wireguard { link } => match is_wireguard(view, link)? {
            true => Ok(wireguard::look(link)?.map(Object::Wireguard)),
            false => Ok(None),
        },
        name => opened(view)?.find(name),
    }
}

/// Whether there is such an interface, set or not.
fn is_wireguard(view: &mut Option<View>, link: &str) -> Result<bool, Fault> {
    let found = opened(view)?.find(&ObjectName::Link { name: link.to_owned() })?;
    Ok(matches!(found, Some(Object::Link(found)) if found.kind.as_deref() == Some(WIREGUARD)))
}

fn opened(view: &mut Option<View>) -> Result<&mut View, Fault> {
    if view.is_none() {
        *view = Some(View::new(Rtnetlink::open()?));
    }
    view.as_mut().ok_or_else(|| fault("io", "the kernel's network cannot be looked at"))
}

/// A fault that the target, or what was said of it, is to blame for.
fn fault(code: &str, message: impl Into<String>) -> Fault {
    Fault::new(code, Blame::Target, message)
}
