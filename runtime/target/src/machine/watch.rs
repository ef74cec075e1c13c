//! Watches what lanes own on machines, files and networks, and tells when something of it may have changed, so
//! that nobody has to wait for the next look.
//!
//! **Invariant.** It is a hint and nothing else. What is told is looked at like anything else,
//! and what is missed (a directory that is not there yet, more than may be watched, a file
//! system that tells nothing) the next look finds. Directories are opened from the root, a
//! part at a time, and watched by their handle: no path leads elsewhere.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io::{self, PipeReader, PipeWriter};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tidelock_model::name::{Identity, Lane};

use super::Machine;
use super::folder::{Folder as _, Stamp};
use super::walk::{Walker, split};
use crate::network::NetworkWatches;

/// How long what comes together is gathered before it is told.
const GATHER: Duration = Duration::from_millis(20);

/// What counts as a change of something in a directory, or of the directory itself.
const KINDS: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// See the module. Ends when it is dropped.
pub struct Watches {
    shared: Arc<Shared>,
    network: NetworkWatches,
    // Its end tells the thread to end; dropped before it is waited for.
    open: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    inotify: OwnedFd,
    /// Directories that are watched at most.
    most: usize,
    state: Mutex<State>,
    tell: Arc<dyn Fn(&Lane) + Send + Sync>,
}

#[derive(Default)]
struct State {
    /// By the kernel's number of the watch. One directory may be seen from several roots.
    watched: HashMap<i32, Vec<Place>>,
    /// Whether it was said that not everything can be watched.
    said: bool,
}

/// A directory as a machine sees it.
struct Place {
    machine: Arc<Machine>,
    folder: String,
    names: BTreeMap<OsString, Watched>,
}

/// What lanes own in a directory, as it was when it was last looked at.
struct Watched {
    stamp: Option<Stamp>,
    lanes: BTreeSet<Lane>,
}

impl Watches {
    /// Begins to watch nothing, and calls `tell` for each lane of which something may have
    /// changed, from a thread of its own. At most so many directories are watched.
    ///
    /// # Errors
    /// The system has no (further) inotify instance.
    pub fn start(most: usize, tell: impl Fn(&Lane) + Send + Sync + 'static) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let (closed, open) = io::pipe()?;
        let tell: Arc<dyn Fn(&Lane) + Send + Sync> = Arc::new(tell);
        let network = NetworkWatches::new(Arc::clone(&tell));
        let shared = Arc::new(Shared { inotify, most, state: Mutex::default(), tell });
        let ours = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(move || follow(&ours, &closed))?;
        Ok(Self { shared, network, open: Some(open), thread: Some(thread) })
    }

    /// From now on tells of a lane when something of these identities may have changed on the
    /// machine, compared with how it is now. What was watched for the lane before is not any more.
    pub fn watch(&self, lane: &Lane, machine: &Arc<Machine>, identities: &[Identity]) {
        self.network.watch(lane, machine.network().namespace(), identities);
        let mut state = self.shared.state();
        state.forget(lane);
        self.shared.add(&mut state, lane, machine, identities);
        self.shared.sweep(&mut state);
    }

    /// Watches these too.
    pub fn add(&self, lane: &Lane, machine: &Arc<Machine>, identities: &[Identity]) {
        self.network.add(lane, machine.network().namespace(), identities);
        self.shared.add(&mut self.shared.state(), lane, machine, identities);
    }

    /// Watches these files no more for a lane. Networks are not left: see [`NetworkWatches`].
    pub fn leave(&self, lane: &Lane, identities: &[Identity]) {
        let mut state = self.shared.state();
        let paths = by_folder(identities);
        for place in state.watched.values_mut().flatten().filter(|place| place.machine.name == lane.target) {
            let Some(names) = paths.get(place.folder.as_str()) else { continue };
            place.names.retain(|name, watched| {
                if names.contains(name.as_os_str()) {
                    watched.lanes.remove(lane);
                }
                !watched.lanes.is_empty()
            });
        }
    }

    /// Watches nothing for a lane any more.
    pub fn forget(&self, lane: &Lane) {
        self.network.forget(lane);
        let mut state = self.shared.state();
        state.forget(lane);
        self.shared.sweep(&mut state);
    }

    /// How many directories are watched.
    #[must_use]
    pub fn directories(&self) -> usize {
        self.shared.state().watched.len()
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.open = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was told where it happened.
            drop(thread.join());
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, state: &mut State, lane: &Lane, machine: &Arc<Machine>, identities: &[Identity]) {
        let mut walker = Walker::new(machine.root());
        for (folder, names) in by_folder(identities) {
            // One that is not there, or is reached through a link, has nothing to tell.
            let Ok(Some(opened)) = walker.folder(folder) else { continue };
            let Some(path) = opened.start_path() else { continue };
            if state.watched.len() >= self.most && !state.knows(machine, folder) {
                state.say(&format!("more than {} directories", self.most));
                continue;
            }
            let number = match inotify::add_watch(&self.inotify, path, KINDS) {
                Ok(number) => number,
                Err(errno) => {
                    state.say(&format!("{folder} of {}: {errno}", machine.name));
                    continue;
                }
            };
            let place = state.place(number, machine, folder);
            for name in names {
                let stamp = opened.stamp(name).ok().flatten();
                let watched =
                    place.names.entry(name.to_owned()).or_insert_with(|| Watched { stamp, lanes: BTreeSet::new() });
                watched.stamp = stamp;
                watched.lanes.insert(lane.clone());
            }
        }
    }

    /// Gives back the watches of directories in which nothing is watched any more.
    fn sweep(&self, state: &mut State) {
        state.watched.retain(|number, places| {
            places.retain(|place| !place.names.is_empty());
            if places.is_empty() {
                // The kernel may have taken it back already.
                let _ = inotify::remove_watch(&self.inotify, *number);
            }
            !places.is_empty()
        });
    }

    /// The lanes that what the kernel told is about.
    fn touched(&self, told: &Told) -> BTreeSet<Lane> {
        let mut state = self.state();
        let mut lanes = BTreeSet::new();
        if told.overflow {
            lanes.extend(state.watched.values().flatten().flat_map(Place::lanes).cloned());
        }
        for number in &told.selves {
            lanes.extend(state.watched.get(number).into_iter().flatten().flat_map(Place::lanes).cloned());
        }
        for (number, name) in &told.names {
            for place in state.watched.get(number).into_iter().flatten() {
                let Some(watched) = place.names.get(name) else { continue };
                if place.stamp(name) != watched.stamp {
                    lanes.extend(watched.lanes.iter().cloned());
                }
            }
        }
        for number in &told.gone {
            state.watched.remove(number);
        }
        lanes
    }
}

impl State {
    fn forget(&mut self, lane: &Lane) {
        for place in self.watched.values_mut().flatten() {
            place.names.retain(|_, watched| {
                watched.lanes.remove(lane);
                !watched.lanes.is_empty()
            });
        }
    }

    fn place(&mut self, number: i32, machine: &Arc<Machine>, folder: &str) -> &mut Place {
        let places = self.watched.entry(number).or_default();
        let known = places.iter().position(|place| place.machine.name == machine.name && place.folder == folder);
        let at = known.unwrap_or_else(|| {
            let folder = folder.to_owned();
            places.push(Place { machine: Arc::clone(machine), folder, names: BTreeMap::new() });
            places.len() - 1
        });
        // A config that was read anew may have opened it anew.
        places[at].machine = Arc::clone(machine);
        &mut places[at]
    }

    fn knows(&self, machine: &Machine, folder: &str) -> bool {
        self.watched.values().flatten().any(|place| place.machine.name == machine.name && place.folder == folder)
    }

    /// Says once that changes of some files are found by looking alone.
    fn say(&mut self, why: &str) {
        if !std::mem::replace(&mut self.said, true) {
            tracing::warn!(%why, "not everything can be watched; what changes there is found by the next look");
        }
    }
}

impl Place {
    fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.names.values().flat_map(|watched| &watched.lanes)
    }

    fn stamp(&self, name: &OsStr) -> Option<Stamp> {
        Walker::new(self.machine.root()).folder(&self.folder).ok()??.stamp(name).ok()?
    }
}

/// The paths among identities, as names in their directories.
fn by_folder(identities: &[Identity]) -> BTreeMap<&str, BTreeSet<&OsStr>> {
    let mut folders: BTreeMap<&str, BTreeSet<&OsStr>> = BTreeMap::new();
    for identity in identities {
        if let Some((folder, name)) = identity.as_str().strip_prefix("path:").and_then(split) {
            folders.entry(folder).or_default().insert(OsStr::new(name));
        }
    }
    folders
}

/// What the kernel told, gathered.
#[derive(Default)]
struct Told {
    names: BTreeSet<(i32, OsString)>,
    /// Directories of which something may have changed that is no name in them.
    selves: BTreeSet<i32>,
    /// Watches that ended.
    gone: BTreeSet<i32>,
    /// Whether more happened than the kernel kept.
    overflow: bool,
}

/// Hands on what the kernel tells, until the other end of `closed` is dropped.
fn follow(shared: &Shared, closed: &PipeReader) {
    loop {
        let mut ready =
            [PollFd::new(&shared.inotify, PollFlags::IN), PollFd::new(closed, PollFlags::IN | PollFlags::HUP)];
        match poll(&mut ready, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return tracing::warn!(%errno, "files are not watched any more"),
        }
        if !ready[1].revents().is_empty() {
            return;
        }
        if ready[0].revents().is_empty() {
            continue;
        }
        std::thread::sleep(GATHER);
        for lane in shared.touched(&drain(shared)) {
            (shared.tell)(&lane);
        }
    }
}

fn drain(shared: &Shared) -> Told {
    let mut told = Told::default();
    let mut buffer = [MaybeUninit::uninit(); 16 << 10];
    let mut reader = Reader::new(&shared.inotify, &mut buffer);
    while let Ok(event) = reader.next() {
        let what = event.events();
        told.overflow |= what.contains(ReadFlags::QUEUE_OVERFLOW);
        if what.contains(ReadFlags::IGNORED) {
            told.gone.insert(event.wd());
        }
        match event.file_name() {
            Some(name) => {
                told.names.insert((event.wd(), OsStr::from_bytes(name.to_bytes()).to_owned()));
            }
            None => {
                told.selves.insert(event.wd());
            }
        }
    }
    told
}
