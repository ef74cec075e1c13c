//! What systemd hears of us: ready, alive, reloading, stopping (`sd_notify(3)`).
//!
//! A datagram to the socket that `$NOTIFY_SOCKET` names, and nothing where it names none.
//! Alive is said after a turn of the loop and never by a timer of its own: a loop that
//! hangs is one that systemd restarts.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tidelock_reconcile::driver::Pulse;

/// How often the status line is sent at most.
const STATUS: Duration = Duration::from_secs(5);

/// The way to systemd, where it started us.
pub(super) struct Systemd {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// When the status was last sent.
    last: Mutex<Option<Instant>>,
}

impl Systemd {
    /// Reads `$NOTIFY_SOCKET`.
    pub(super) fn from_environment() -> Self {
        let to = std::env::var_os("NOTIFY_SOCKET").and_then(|path| {
            let name = path.as_encoded_bytes();
            let address = match name.strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(&path),
            };
            Some((UnixDatagram::unbound().ok()?, address.ok()?))
        });
        Self { to, last: Mutex::default() }
    }

    /// The first turn has been: what was in force is enforced.
    pub(super) fn ready(&self) {
        self.say("READY=1");
    }

    /// The config is being read anew; [`Systemd::ready`] follows.
    pub(super) fn reloading(&self) {
        self.say("RELOADING=1");
    }

    /// A turn has been.
    pub(super) fn alive(&self, pulse: &Pulse) {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= STATUS) {
            *last = Some(Instant::now());
            let text = format!(
                "WATCHDOG=1\nSTATUS={} lanes, {} passes under way; {} passes made, {} failed",
                pulse.lanes, pulse.passes, pulse.passed, pulse.failed
            );
            self.say(&text);
        }
    }

    /// We are about to leave.
    pub(super) fn stopping(&self) {
        self.say("STOPPING=1");
    }

    fn say(&self, text: &str) {
        if let Some((socket, address)) = &self.to
            && let Err(error) = socket.send_to_addr(text.as_bytes(), address)
        {
            tracing::warn!(%error, "systemd did not hear us");
        }
    }
}
