//! The unix socket of the daemon: mode 0660 beside the store, a line asked and a line
//! answered. Whoever may open it may ask for a poll or a look, and for nothing else: what
//! is done follows from Git, the store and the config alone. Who asked is recorded.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tidelock_model::event::RunEvent;
use tidelock_model::port::Store;
use tidelock_reconcile::Runtime;
use tidelock_reconcile::driver::{Handle, Signal};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::wire::{Answer, LONGEST, Request};
use crate::error::{CliError, Kind};

/// How long a peer may take with its line.
const PATIENCE: Duration = Duration::from_secs(5);

/// Peers that are listened to at once.
const PEERS: usize = 32;

/// Requests that wake something, in a [`WINDOW`], before they are refused.
const REQUESTS: u32 = 120;

/// See [`REQUESTS`].
const WINDOW: Duration = Duration::from_secs(60);

/// The open socket; its file goes with it.
pub(super) struct Socket {
    path: PathBuf,
    accepting: JoinHandle<()>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.accepting.abort();
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "the socket's file is gone already");
        }
    }
}

/// Opens the socket. We are alone on the store by now, so a file that is there is what a
/// dead daemon left.
pub(super) fn listen(path: &Path, handle: Handle, runtime: &Runtime) -> Result<Socket, CliError> {
    let failed = |error: std::io::Error| {
        CliError::file("listen on", path, &error)
            .hint("name another socket, with a shorter path or where this user may write:\n[daemon]\nsocket = \"/run/tidelock/tidelock.sock\"")
    };
    match std::fs::symlink_metadata(path) {
        Ok(found) if !is_socket(&found) => {
            let message = format!("{} is there and is no socket; it was left as it is", path.display());
            return Err(CliError::new(Kind::Config, message).hint("name another one in [daemon] socket"));
        }
        Ok(_) | Err(_) => {}
    }
    // Made closed under another name: nobody gets in before the mode is right.
    let staged = staged(path);
    drop(std::fs::remove_file(&staged));
    let listener = UnixListener::bind(&staged).map_err(failed)?;
    std::fs::set_permissions(&staged, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
    std::fs::rename(&staged, path).map_err(failed)?;
    let desk = Arc::new(Desk { handle, store: Arc::clone(&runtime.store), spent: Mutex::new((Instant::now(), 0)) });
    let accepting = tokio::spawn(accept(listener, desk));
    Ok(Socket { path: path.to_owned(), accepting })
}

fn staged(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn is_socket(found: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    found.file_type().is_socket()
}

async fn accept(listener: UnixListener, desk: Arc<Desk>) {
    let peers = Arc::new(Semaphore::new(PEERS));
    loop {
        let Ok(place) = Arc::clone(&peers).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let desk = Arc::clone(&desk);
                tokio::spawn(async move {
                    let _place = place;
                    match tokio::time::timeout(PATIENCE, desk.serve(stream)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::debug!(%error, "a peer went away"),
                        Err(_) => tracing::debug!("a peer took too long"),
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: others must give some back first.
                tracing::warn!(%error, "the socket takes nobody");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Takes requests.
struct Desk {
    handle: Handle,
    store: Arc<dyn Store>,
    /// When the window began, and how many requests it had.
    spent: Mutex<(Instant, u32)>,
}

impl Desk {
    async fn serve(&self, stream: UnixStream) -> std::io::Result<()> {
        let who = who(&stream)?;
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        (&mut stream).take(LONGEST as u64).read_line(&mut line).await?;
        let answer = match serde_json::from_str(&line) {
            Ok(request) => self.take(&who, request).await,
            Err(error) => Answer::refused(format!("the request cannot be read: {error}")),
        };
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        stream.get_mut().write_all(&line).await?;
        stream.get_mut().shutdown().await
    }

    async fn take(&self, who: &str, request: Request) -> Answer {
        let (what, signal) = match request {
            Request::Pulse => return Answer::taken(&self.handle.pulse()),
            Request::Poll { source } => (format!("poll {source}"), Signal::Poll(source)),
            Request::Look { scope } => (format!("look at {}", shown(&scope)), Signal::Look(scope)),
        };
        if !self.may_ask() {
            return Answer::refused(format!("more than {REQUESTS} requests in {} s", WINDOW.as_secs()));
        }
        let event = RunEvent::Asked { who: who.to_owned(), what };
        if let Err(error) = self.store.put_event(Timestamp::now(), None, None, &event) {
            tracing::warn!(%error, "an event was not stored");
        }
        if self.handle.send(signal).await {
            Answer::taken(&self.handle.pulse())
        } else {
            Answer::refused("the loop has ended")
        }
    }

    fn may_ask(&self) -> bool {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.0.elapsed() > WINDOW {
            *spent = (Instant::now(), 0);
        }
        spent.1 += 1;
        spent.1 <= REQUESTS
    }
}

fn shown(scope: &tidelock_model::hold::Scope) -> String {
    let stack = scope.stack.as_deref().unwrap_or("every stack");
    let target = scope.target.as_deref().unwrap_or("every target");
    crate::output::one_line(&format!("{stack} on {target}"))
}

/// The user at the other end, as the kernel says.
fn who(stream: &UnixStream) -> std::io::Result<String> {
    let uid = nix::unistd::Uid::from_raw(stream.peer_cred()?.uid());
    let user = nix::unistd::User::from_uid(uid).ok().flatten();
    Ok(user.map_or_else(|| format!("uid {uid}"), |user| user.name))
}
