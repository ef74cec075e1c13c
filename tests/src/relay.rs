//! A relay in front of a server, which can cut and stall what the server sends.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What happens to the bytes of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Passes {
    /// All of them are handed on.
    #[default]
    All,
    /// The first so many, and then the connection ends.
    Until(usize),
    /// The first so many, and then nothing more, on an open connection.
    StallsAfter(usize),
}

/// A port of the loopback that stands for another one, until dropped.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    passes: Mutex<Passes>,
    closing: AtomicBool,
}

impl Relay {
    /// Stands before a port of the loopback.
    ///
    /// # Panics
    /// No port can be had.
    #[must_use]
    pub fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port on the loopback");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || {
            for client in listener.incoming() {
                if ours.closing.load(Ordering::SeqCst) {
                    break;
                }
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", server))) else { continue };
                let ours = Arc::clone(&ours);
                // Who goes away in the middle is no fault of the relay.
                std::thread::spawn(move || drop(ours.carry(client, server)));
            }
        });
        Self { port, shared, accepting: Some(accepting) }
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on treats what the server sends so.
    pub fn passes(&self, passes: Passes) {
        *self.shared.passes.lock().unwrap_or_else(PoisonError::into_inner) = passes;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then sees the flag.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

impl Shared {
    fn carry(&self, client: TcpStream, server: TcpStream) -> std::io::Result<()> {
        let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || {
            drop(std::io::copy(&mut from_client, &mut to_server));
            drop(to_server.shutdown(Shutdown::Write));
        });
        let (mut from_server, mut to_client) = (server, client);
        let passes = *self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        let most = match passes {
            Passes::All => usize::MAX,
            Passes::Until(most) | Passes::StallsAfter(most) => most,
        };
        let mut left = most;
        let mut buffer = [0; 16 << 10];
        while left > 0 {
            let some = buffer.len().min(left);
            let read = from_server.read(&mut buffer[..some])?;
            if read == 0 {
                break;
            }
            to_client.write_all(&buffer[..read])?;
            left -= read;
        }
        while matches!(passes, Passes::StallsAfter(_)) && !self.closing.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(from_server.shutdown(Shutdown::Both));
        to_client.shutdown(Shutdown::Both)
    }
}
