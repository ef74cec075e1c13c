//! A guard on the target: a process of its own that takes effects back, unless it is told in
//! time that all is well. It depends on nothing but itself: whoever armed it may be killed,
//! or cut off by the very effects that it watches over.
//!
//! Over names on a DNS server it stands here, since a server keeps no process of ours: it outlives
//! whoever armed it, and needs the way to the server.
//!
//! A guard is a file whose name says whose it is and where it stands, and each step is one rename,
//! so that of two who want to take it exactly one does: `ID@TARGET.armed`, then `.confirmed`, or
//! `.restoring` and `.restored`. A step is done once a power cut would not undo it. The guard alone
//! writes it, and holds a lock on it for as long as it lives: a file that stands and that nobody
//! holds is one whose guard is gone, be it killed or gone with its machine ([`relieve`]).

mod back;

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use tidelock_model::effect::{Effect, EffectBody};
use tidelock_model::error::{Blame, Fault};
use tidelock_model::name::{Identity, Name};
use tidelock_model::network::{NetworkEffect, Object, ObjectName};
use tidelock_model::port::{Guard, GuardState, Guarded, Guards};
use tidelock_model::secret::SecretValue;
use tidelock_secret::private;

pub(crate) use self::back::mark;
use super::program::readable;
use super::{Namespace, Session, fault};
use crate::dns::{DnsServer, Names};
use crate::machine::before::{self, Before};

/// How a guard is started, and where guards are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardHelper {
    /// A folder that is Tidelock's own.
    pub folder: PathBuf,
    /// The program that becomes a guard; the folder follows its words, and what it is to do
    /// comes on its input.
    pub program: PathBuf,
    /// Its words.
    pub words: Vec<String>,
}

/// What a guard's file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    guard: Guard,
    netns: Option<String>,
    /// What takes the effects back, in order.
    inverses: Vec<NetworkEffect>,
    /// Links, addresses and routes as they were: what effects take along by themselves.
    there: Vec<Object>,
    /// Whether what others removed was taken out of that, and the guard is at it.
    #[serde(default)]
    sorted: bool,
    /// Where the target's files lie, and those of the network as they were: what is taken back
    /// must not come with the next start of the system.
    #[serde(default)]
    root: PathBuf,
    #[serde(default)]
    files: Vec<Before>,
    /// What takes updates of a DNS server back, where it stands over those.
    #[serde(default)]
    names: Option<Names>,
    /// Why it went back.
    #[serde(default)]
    why: Option<String>,
    /// Whether something of it did not.
    #[serde(default)]
    partly: bool,
    /// What of it did not, by identity, where that is known.
    #[serde(default)]
    left: Option<Vec<Identity>>,
}

/// One guard among those of a folder.
struct Place<'f> {
    folder: &'f Path,
    target: &'f Name,
    id: &'f str,
}

/// States in which a guard waits, or is at it.
const STANDING: [&str; 2] = ["armed", "restoring"];
/// What nobody needs any more once no guard stands that it belongs to.
const LEFT_OVER: [&str; 4] = ["confirmed", "called", "swept", "new"];
/// How long something is that somebody may still be about to use.
const FRESH: Duration = Duration::from_secs(60);
/// The longest order, in bytes.
const MAX_ORDER: usize = 256 << 20;

impl Place<'_> {
    fn file(&self, state: &str) -> PathBuf {
        self.folder.join(format!("{}@{}.{state}", self.id, self.target))
    }

    fn is(&self, state: &str) -> bool {
        self.file(state).exists()
    }

    /// From one state to the next, for good.
    fn moves(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.file(from), self.file(to))?;
        settle(self.folder)
    }
}

/// Names of files are durable once their folder is.
fn settle(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// What of effects could not be taken back.
#[derive(Debug, Default)]
pub(crate) struct Stuck {
    /// In words, one for each.
    pub(crate) troubles: Vec<String>,
    /// Identities whose effects are not, or not surely, back. What others lost is none of these.
    pub(crate) left: Vec<Identity>,
}

/// What takes effects back.
enum Hands<'s> {
    /// On this system.
    Here(Session, Namespace),
    /// On a server.
    Server(&'s DnsServer),
}

impl<'s> Hands<'s> {
    /// What an order needs; `server` is the one that it is about.
    fn of(order: &Order, server: Option<&'s DnsServer>) -> Result<Self, Fault> {
        match (&order.names, server) {
            (None, _) => {
                let namespace = order.netns.as_deref().map_or(Ok(Namespace::own()), Namespace::named)?;
                Ok(Self::Here(Session::begin(namespace.clone())?, namespace))
            }
            (Some(_), Some(server)) => Ok(Self::Server(server)),
            (Some(_), None) => {
                Err(fault("invalid", "a guard over names can be stood in for by their server's target alone"))
            }
        }
    }

    /// Brings back what was there; what could not be is said, with what effects it is of.
    fn restore(&self, order: &Order) -> Stuck {
        match self {
            Self::Here(session, namespace) => back::restore(session, namespace, order),
            Self::Server(server) => order.names.as_ref().map(|names| names.take_back(server)).unwrap_or_default(),
        }
    }
}

/// How often a guard looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(50);
/// How long a guard may take to say that it stands, and to take everything back. A server that does
/// not answer is tried for a third of that, and the last try may take as long again.
const PATIENCE: Duration = Duration::from_secs(60);
/// What it says then.
const STANDS: &str = "armed";

/// Arms a guard, and returns once it stands.
///
/// # Errors
/// It could not be started.
pub(crate) fn arm(helper: &GuardHelper, namespace: &Namespace, root: &Path, guard: &Guard) -> Result<(), Fault> {
    let mut inverses = Vec::new();
    for effect in guard.effects.iter().rev() {
        if let Some(EffectBody::Network(inverse)) = effect.inverse.as_deref() {
            inverses.push(inverse.clone());
        }
    }
    let there = back::there(namespace)?;
    let netns = namespace.name().map(ToOwned::to_owned);
    let (root, files) = (root.to_owned(), before::remember(root, &files_of(guard))?);
    let order = Order {
        guard: written(guard),
        netns,
        inverses,
        there,
        sorted: false,
        root,
        files,
        names: None,
        why: None,
        partly: false,
        left: None,
    };
    stand(helper, &order, None)
}

/// Arms a guard over names. The key passes through a pipe, and is written nowhere.
///
/// # Errors
/// It could not be started.
pub(crate) fn arm_names(helper: &GuardHelper, names: Names, key: &SecretValue, guard: &Guard) -> Result<(), Fault> {
    let names = Some(names);
    let (root, files) = (PathBuf::new(), vec![]);
    let (inverses, there) = (vec![], vec![]);
    let order = Order {
        guard: written(guard),
        netns: None,
        inverses,
        there,
        sorted: false,
        root,
        files,
        names,
        why: None,
        partly: false,
        left: None,
    };
    stand(helper, &order, Some(key))
}

/// What is written of a guard: what it was about is remembered; how it is taken back is said once.
fn written(guard: &Guard) -> Guard {
    Guard { effects: vec![], ..guard.clone() }
}

fn stand(helper: &GuardHelper, order: &Order, key: Option<&SecretValue>) -> Result<(), Fault> {
    let io = |error: io::Error| fault("io", format!("cannot arm a guard: {error}"));
    fs::create_dir_all(&helper.folder).map_err(io)?;
    fs::set_permissions(&helper.folder, fs::Permissions::from_mode(0o700)).map_err(io)?;
    for old in listed(&helper.folder)?.known {
        // A new attempt stands in for what came of the last one.
        if old.state == GuardState::Restored && old.guard.lane == order.guard.lane {
            let place = Place { folder: &helper.folder, target: &old.guard.lane.target, id: &old.guard.id };
            let _ = fs::remove_file(place.file("restored"));
        }
    }
    sweep(&helper.folder).map_err(io)?;
    start(helper, order, key)
}

/// Removes what guards that ended left beside them.
fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let word = path.extension().and_then(|word| word.to_str()).unwrap_or_default();
        let stands = STANDING.iter().any(|state| path.with_extension(state).exists());
        let at = fs::metadata(&path).and_then(|about| about.modified());
        let old = at.is_ok_and(|at| at.elapsed().is_ok_and(|since| since > FRESH));
        if LEFT_OVER.contains(&word) && !stands && old {
            let _ = fs::remove_file(path);
        }
    }
    Ok(())
}

/// The files that the effects on the network's objects write. Those of other resources are no
/// part of what a guard takes back.
fn files_of(guard: &Guard) -> Vec<String> {
    let of_network = |effect: &&Effect| effect.identity.as_str().parse::<ObjectName>().is_ok();
    let paths = guard.effects.iter().filter(of_network).filter_map(|effect| effect.body.path());
    let paths: BTreeSet<String> = paths.map(ToOwned::to_owned).collect();
    paths.into_iter().collect()
}

fn start(helper: &GuardHelper, order: &Order, key: Option<&SecretValue>) -> Result<(), Fault> {
    let io = |error: io::Error| fault("io", format!("cannot start a guard: {error}"));
    let order = serde_json::to_vec(order).map_err(|error| io(error.into()))?;
    let mut child = Command::new(&helper.program)
        .args(&helper.words)
        .arg(&helper.folder)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(io)?;
    let told = tell(&mut child, order, key.cloned());
    if told.as_ref().map(|said| said.trim()).ok() != Some(STANDS) {
        let _ = child.kill();
        let _ = child.wait();
        let said = told.map_err(io)?;
        return Err(fault("io", format!("the guard did not stand up: {}", said.trim())));
    }
    // It outlives us; while we live, somebody has to take note of its end.
    std::thread::spawn(move || child.wait());
    Ok(())
}

/// Hands an order over, in a line of its own, and after it what is kept in memory alone. Gives what
/// the guard says to it.
fn tell(child: &mut Child, mut order: Vec<u8>, key: Option<SecretValue>) -> io::Result<String> {
    let gone = || io::Error::from(ErrorKind::BrokenPipe);
    let (mut stdin, stdout) = (child.stdin.take().ok_or_else(gone)?, child.stdout.take().ok_or_else(gone)?);
    order.push(b'\n');
    // Closed once it is written: what ends before its end is no order, and no guard stands up to it.
    std::thread::spawn(move || {
        stdin.write_all(&order).and_then(|()| stdin.write_all(key.as_ref().map_or(&[], SecretValue::reveal)))
    });
    if !readable(&stdout, PATIENCE)? {
        return Err(ErrorKind::TimedOut.into());
    }
    let mut said = String::new();
    BufReader::new(stdout).read_line(&mut said)?;
    Ok(said)
}

/// What `tell` wrote.
fn order_and_key(from: impl Read) -> io::Result<(Order, SecretValue)> {
    let told = private::read_all(from, MAX_ORDER)?;
    let end = told.iter().position(|byte| *byte == b'\n').ok_or(ErrorKind::UnexpectedEof)?;
    Ok((serde_json::from_slice(&told[..end])?, SecretValue::new(told[end + 1..].to_vec())))
}

/// Is a guard until it is confirmed or has taken everything back. For the program that
/// `arm` starts: what it is to do comes on `order`, and that it stands is said on `out`.
///
/// # Errors
/// The order is not whole, its file cannot be written, or the namespace is gone.
pub fn keep_guard(folder: &Path, order: impl Read, mut out: impl io::Write) -> Result<(), Fault> {
    // A session of its own: no signal to whoever started it reaches it.
    let _ = rustix::process::setsid();
    let (order, key) = order_and_key(order)
        .map_err(|error| fault("io", format!("whoever wanted a guard did not say for what: {error}")))?;
    let (id, target) = (order.guard.id.clone(), order.guard.lane.target.clone());
    let place = Place { folder, target: &target, id: &id };
    let server = order.names.as_ref().map(|names| names.server(key)).transpose()?;
    let hands = Hands::of(&order, server.as_ref())?;
    if let Hands::Here(session, _) = &hands {
        session.memorise()?;
        for inverse in &order.inverses {
            session.remember(inverse)?;
        }
    }
    let ends = Instant::now() + Duration::from_millis(order.guard.within_ms);
    let path = place.file("armed");
    let alive = write(&path, &order)?;
    let io = |error: io::Error| fault("io", format!("cannot say that the guard stands: {error}"));
    if let Err(error) = writeln!(out, "{STANDS}").and_then(|()| out.flush()) {
        // Whoever asked is gone, and performs nothing that was not answered: there is nothing to guard.
        let _ = fs::remove_file(&path);
        return Err(io(error));
    }
    loop {
        std::thread::sleep(LOOK);
        if !path.exists() {
            return Ok(());
        }
        if place.is("called") || Instant::now() >= ends {
            break;
        }
    }
    take_back(&place, &hands, order, "nobody confirmed it in time")?;
    drop(alive);
    Ok(())
}

/// Takes everything back. The caller holds the guard's file.
fn take_back(place: &Place<'_>, hands: &Hands<'_>, mut order: Order, otherwise: &str) -> Result<(), Fault> {
    let restoring = place.file("restoring");
    match place.moves("armed", "restoring") {
        Ok(()) => {}
        // Confirmed at the last moment; or a guard ended while it took things back.
        Err(error) if error.kind() == ErrorKind::NotFound && restoring.exists() => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fault("io", format!("cannot take effects back: {error}"))),
    }
    let why = fs::read_to_string(place.file("called")).unwrap_or_else(|_| otherwise.to_owned());
    let mut held = None;
    if let (Hands::Here(_, namespace), false) = (hands, order.sorted) {
        back::sort_out(place, namespace, &mut order);
        order.sorted = true;
        // Whoever goes on where this one ends sees what this one took along.
        held = Some(write(&restoring, &order)?);
    }
    let Stuck { mut troubles, left } = hands.restore(&order);
    let files = before::put_back(&order.root, &order.files);
    // Nobody knows whose file it is.
    order.left = Some(left).filter(|_| files.is_empty());
    troubles.extend(files);
    troubles.dedup();
    order.partly = !troubles.is_empty();
    order.why = Some(match troubles.is_empty() {
        true => why,
        false => format!("{why}; and not all of it could be taken back: {}", troubles.join("; ")),
    });
    let _held = (held, write(&restoring, &order)?);
    let _ = fs::remove_file(place.file("called"));
    let _ = fs::remove_file(place.file("swept"));
    let io = |error: io::Error| fault("io", format!("cannot say that effects were taken back: {error}"));
    place.moves("restoring", "restored").map_err(io)
}

/// The guards of a folder: those that stand, those that are gone and left their file, those that
/// took something back, and those whose file nobody can read.
///
/// # Errors
/// The folder cannot be read.
pub fn listed(folder: &Path) -> Result<Guards, Fault> {
    let io = |error: io::Error| fault("io", format!("cannot look for guards: {error}"));
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Guards::default()),
        Err(error) => return Err(io(error)),
    };
    let mut guards = Guards::default();
    for entry in entries {
        let path = entry.map_err(io)?.path();
        let Some(target) = target_of(&path) else { continue };
        let state = match path.extension().and_then(|word| word.to_str()) {
            Some("armed" | "restoring") if is_held(&path) => GuardState::Armed,
            Some("armed" | "restoring") => GuardState::Gone,
            Some("restored") => GuardState::Restored,
            _ => continue,
        };
        match read(&path) {
            Ok(order) => {
                let (why, written_ms) = (order.why.unwrap_or_default(), written_at(&path));
                let left = if order.partly { order.left } else { Some(vec![]) };
                guards.known.push(Guarded { guard: order.guard, state, why, left, written_ms });
            }
            // It went on while we looked.
            Err(_) if !path.exists() => {}
            // It waits for nothing, and what it has to tell is lost.
            Err(fault) if state == GuardState::Restored => tracing::warn!(%fault, "what a guard did is not known"),
            Err(fault) => drop(guards.unread.insert(target, fault)),
        }
    }
    guards.known.sort_by(|a, b| a.guard.id.cmp(&b.guard.id));
    Ok(guards)
}

/// Whose guard a file is of.
fn target_of(path: &Path) -> Option<Name> {
    let (_, target) = path.file_stem()?.to_str()?.split_once('@')?;
    Name::new(target).ok()
}

/// When a file was written, in ms since 1970.
fn written_at(path: &Path) -> i64 {
    let at = fs::metadata(path).and_then(|about| about.modified()).ok();
    let since = at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or(0)
}

/// Tells a guard that all is well. Says whether it was in time.
///
/// # Errors
/// The guard's file cannot be renamed.
pub(crate) fn confirm(folder: &Path, target: &Name, id: &str) -> Result<bool, Fault> {
    let place = Place { folder, target, id };
    match place.moves("armed", "confirmed") {
        Ok(()) => {
            let _ = fs::remove_file(place.file("confirmed"));
            let _ = fs::remove_file(place.file("swept"));
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(fault("io", format!("cannot tell the guard that all is well: {error}"))),
    }
}

/// Calls a guard to take everything back now, and waits for it; where it is gone, that is done
/// here, on `server` where it stood over names. Blocking.
///
/// # Errors
/// It does not answer, or was told meanwhile that all is well.
pub(crate) fn call(folder: &Path, target: &Name, id: &str, why: &str, server: Option<&DnsServer>) -> Result<(), Fault> {
    let io = |error: io::Error| fault("io", format!("cannot call the guard: {error}"));
    let place = Place { folder, target, id };
    // Whole once it has its name: the guard looks all the time.
    whole(&place.file("called"), why.as_bytes()).map_err(io)?;
    let ends = Instant::now() + PATIENCE;
    while Instant::now() < ends {
        // In this order: it goes from one to the next.
        if !STANDING.iter().any(|state| place.is(state)) {
            let done = place.is("restored");
            let _ = fs::remove_file(place.file("called"));
            let gone = "the guard ended before it could be called: somebody said that all is well";
            return if done { Ok(()) } else { Err(fault("confirmed", gone)) };
        }
        relieve(folder, target, id, server)?;
        std::thread::sleep(LOOK);
    }
    Err(Fault::new("timeout", Blame::Target, "the guard does not say that it took everything back"))
}

/// Does what a guard should have done that is gone: it was killed, or went with its machine.
/// Nothing where it stands, where it has ended, or where somebody else is at this. Blocking.
///
/// # Errors
/// As the guard's own.
pub(crate) fn relieve(folder: &Path, target: &Name, id: &str, server: Option<&DnsServer>) -> Result<(), Fault> {
    let place = Place { folder, target, id };
    for state in STANDING {
        let path = place.file(state);
        let Ok(held) = File::open(&path) else { continue };
        if held.try_lock().is_err() {
            return Ok(());
        }
        let order = match read(&path) {
            Ok(order) => order,
            // It went on before it was held.
            Err(_) if !path.exists() => continue,
            Err(fault) => return Err(fault),
        };
        let hands = Hands::of(&order, server)?;
        return take_back(&place, &hands, order, "the guard that watched over it was gone");
    }
    Ok(())
}

/// Whether a guard, or whoever relieves it, is there: it holds a lock, which ends with it.
fn is_held(path: &Path) -> bool {
    match File::open(path).map(|file| file.try_lock_shared()) {
        Ok(Err(TryLockError::WouldBlock)) => true,
        // Where locks cannot be asked for, it is believed.
        Ok(Err(TryLockError::Error(_))) => true,
        Ok(Ok(())) => false,
        // It went on while we looked: the next name says where it stands.
        Err(_) => true,
    }
}

fn read(path: &Path) -> Result<Order, Fault> {
    let bad = |why: String| fault("io", format!("cannot read the guard {}: {why}", path.display()));
    let bytes = fs::read(path).map_err(|error| bad(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))
}

/// Writes what a guard is.
fn write(path: &Path, order: &Order) -> Result<File, Fault> {
    let bad = |why: String| fault("io", format!("cannot write the guard {}: {why}", path.display()));
    let bytes = serde_json::to_vec(order).map_err(|error| bad(error.to_string()))?;
    whole(path, &bytes).map_err(|error| bad(error.to_string()))
}

/// Puts a file in place, whole or not at all, for good, and for us alone. Held from before it has
/// its name.
pub(super) fn whole(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let beside = path.with_added_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.lock()?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), settle)?;
    Ok(file)
}

#[cfg(test)]
mod tests;
