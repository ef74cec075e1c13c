//! Hears when something of a network changes, and tells the lanes that own a part of it, so
//! that nobody has to wait for the next look.
//!
//! **Invariant.** It is a hint and nothing else: what the kernel says is not read, only that it
//! says something. What is missed (most settings, which tell nobody; a namespace that is made
//! anew) the next look finds. So nobody's own writes are told from others' either: a lane that
//! wrote is told of that, looks once more and finds nothing. To leave it out while it writes
//! would lose what others change meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, PipeReader, PipeWriter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{Socket, SocketAddr};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tidelock_model::error::Fault;
use tidelock_model::name::{Identity, Lane};
use tidelock_model::network::ObjectName;

use super::namespace::Which;
use super::{Namespace, fault};

/// How long what comes together is gathered before it is told.
const GATHER: Duration = Duration::from_millis(50);
/// The kernel's groups of news: links, addresses of both families, routes of both, rules of both,
/// settings of both, such as forwarding.
const ROUTE_GROUPS: [u32; 9] = [1, 5, 9, 7, 11, 8, 19, 24, 25];
/// The group of nftables.
const NFTABLES_GROUP: u32 = 7;

/// See the module. Ends when it is dropped.
pub struct NetworkWatches {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<BTreeMap<Option<String>, Ear>>,
    tell: Arc<dyn Fn(&Lane) + Send + Sync>,
}

/// For news of links, addresses, routes and rules, and for those of nftables.
type Sockets = [Option<Socket>; 2];

/// What listens in one namespace.
struct Ear {
    lanes: BTreeSet<Lane>,
    /// Which namespace it is, whatever is called so by now.
    of: Option<Which>,
    // Its end tells the thread to end; dropped before it is waited for.
    open: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.open = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was told where it happened.
            drop(thread.join());
        }
    }
}

impl NetworkWatches {
    /// Listens nowhere yet, and calls `tell` for each lane of which something may have changed,
    /// from threads of its own.
    #[must_use]
    pub fn new(tell: Arc<dyn Fn(&Lane) + Send + Sync>) -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::default(), tell }) }
    }

    /// From now on tells of a lane when the network there changes, if any of these identities
    /// is one of a network.
    pub fn watch(&self, lane: &Lane, namespace: &Namespace, identities: &[Identity]) {
        if !is_of_network(identities) {
            return self.forget(lane);
        }
        let key = namespace.name().map(ToOwned::to_owned);
        // Waited for once the lanes are let go: its thread may be about to ask for them.
        let mut over = None;
        let mut state = self.shared.state();
        // One whose namespace went away, or is another one of the same name, is deaf, and what it holds open
        // keeps the old one: it is begun anew with the next look.
        let is_over = |ear: &Ear| ear.thread.as_ref().is_some_and(JoinHandle::is_finished);
        let deaf = state.get(&key).is_some_and(|ear| is_over(ear) || ear.of != namespace.which());
        if deaf {
            over = state.remove(&key);
        }
        let lanes = over.as_mut().map(|ear| std::mem::take(&mut ear.lanes));
        if !state.contains_key(&key) {
            match self.listen(namespace) {
                Ok(mut ear) => {
                    ear.lanes = lanes.unwrap_or_default();
                    state.insert(key.clone(), ear);
                }
                Err(fault) => {
                    tracing::debug!(%fault, %lane, "the network is not listened to");
                    return;
                }
            }
        }
        if let Some(ear) = state.get_mut(&key) {
            ear.lanes.insert(lane.clone());
        }
    }

    /// Tells of a lane too, once it has written its first objects of a network.
    pub fn add(&self, lane: &Lane, namespace: &Namespace, identities: &[Identity]) {
        if is_of_network(identities) {
            self.watch(lane, namespace, identities);
        }
    }

    /// Tells of a lane no more.
    pub fn forget(&self, lane: &Lane) {
        let mut state = self.shared.state();
        let mut over = Vec::new();
        for (key, ear) in state.iter_mut() {
            if ear.lanes.remove(lane) && ear.lanes.is_empty() {
                over.push(key.clone());
            }
        }
        let over: Vec<Ear> = over.iter().filter_map(|key| state.remove(key)).collect();
        // Threads that are waited for may be about to ask for the lanes.
        drop(state);
        drop(over);
    }

    fn listen(&self, namespace: &Namespace) -> Result<Ear, Fault> {
        let failed = |error: io::Error| fault("io", format!("cannot listen to the network: {error}"));
        let (closed, open) = io::pipe().map_err(failed)?;
        let of = namespace.which();
        let sockets = namespace.enter(|| {
            let route = joined(NETLINK_ROUTE, &ROUTE_GROUPS).map_err(failed)?;
            // Without nftables in the kernel there is nothing to hear of it.
            Ok([Some(route), joined(NETLINK_NETFILTER, &[NFTABLES_GROUP]).ok()])
        })?;
        let (shared, key) = (Arc::clone(&self.shared), namespace.name().map(ToOwned::to_owned));
        let thread = std::thread::Builder::new().name("network-watch".to_owned());
        let thread = thread.spawn(move || follow(&shared, &key, &sockets, &closed)).map_err(failed)?;
        Ok(Ear { lanes: BTreeSet::new(), of, open: Some(open), thread: Some(thread) })
    }
}

fn is_of_network(identities: &[Identity]) -> bool {
    identities.iter().any(|identity| identity.as_str().parse::<ObjectName>().is_ok())
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, BTreeMap<Option<String>, Ear>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket that hears these groups.
fn joined(protocol: isize, groups: &[u32]) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    for group in groups {
        socket.add_membership(*group)?;
    }
    socket.set_non_blocking(true)?;
    Ok(socket)
}

/// Listens until the other side of the pipe is closed.
fn follow(shared: &Shared, key: &Option<String>, sockets: &Sockets, closed: &PipeReader) {
    loop {
        let mut fds = vec![PollFd::new(closed, PollFlags::IN)];
        fds.extend(sockets.iter().flatten().map(|socket| PollFd::new(socket, PollFlags::IN)));
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => {
                tracing::warn!(%errno, "the network is not listened to any more");
                return;
            }
        }
        if !fds[0].revents().is_empty() {
            return;
        }
        std::thread::sleep(GATHER);
        if !drain_all(sockets) {
            continue;
        }
        let lanes = shared.state().get(key).map(|ear| ear.lanes.clone()).unwrap_or_default();
        lanes.iter().for_each(|lane| (shared.tell)(lane));
    }
}

/// Takes what is there, and says whether there was anything.
fn drain_all(sockets: &Sockets) -> bool {
    // All of them, not only until the first that had some.
    let heard = sockets.iter().flatten().filter(|socket| drain(socket)).count();
    heard > 0
}

/// Too much for the socket's memory is news like any other.
fn drain(socket: &Socket) -> bool {
    let mut buffer = Vec::with_capacity(1 << 16);
    let mut any = false;
    loop {
        buffer.clear();
        match socket.recv(&mut buffer, 0) {
            Ok(n) if n > 0 => any = true,
            Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => any = true,
            Ok(_) | Err(_) => return any,
        }
    }
}
