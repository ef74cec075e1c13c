//! A small HTTP proxy for tests: forwards plain requests, and opens tunnels for CONNECT.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// A proxy on a free port of the loopback, until dropped.
#[derive(Debug)]
pub struct HttpProxy {
    port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Names that stand for ports of the loopback: nobody else can resolve them.
    names: Mutex<Vec<(String, u16)>>,
    authorization: Mutex<Option<String>>,
    asked: Mutex<Vec<String>>,
    closing: AtomicBool,
}

impl HttpProxy {
    /// Starts a proxy that lets everyone go everywhere.
    ///
    /// # Panics
    /// No port can be had.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port on the loopback");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ours.closing.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let ours = Arc::clone(&ours);
                // Who goes away in the middle is no fault of the proxy.
                std::thread::spawn(move || drop(ours.serve(stream)));
            }
        });
        Self { port, shared, accepting: Some(accepting) }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Lets a name stand for a port of the loopback.
    pub fn name(&self, name: &str, port: u16) {
        lock(&self.shared.names).push((name.to_owned(), port));
    }

    /// From now on wants this value of `Proxy-Authorization`.
    pub fn require(&self, value: &str) {
        *lock(&self.shared.authorization) = Some(value.to_owned());
    }

    /// First lines of all requests.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        lock(&self.shared.asked).clone()
    }
}

impl Drop for HttpProxy {
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
    fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        let head = head(&mut client)?;
        let first = head.lines().next().unwrap_or_default().to_owned();
        lock(&self.asked).push(first.clone());
        let wanted = lock(&self.authorization).clone();
        let signed_in = |wanted: &str| {
            head.lines()
                .filter_map(|line| line.split_once(": "))
                .any(|(name, value)| name.eq_ignore_ascii_case("proxy-authorization") && value == wanted)
        };
        if wanted.is_some_and(|wanted| !signed_in(&wanted)) {
            let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"proxy\"\r\n\
                           Content-Length: 0\r\nConnection: close\r\n\r\n";
            return client.write_all(refusal.as_bytes());
        }
        let words: Vec<&str> = first.split(' ').collect();
        let [method, target, version] = words[..] else { return Ok(()) };
        if method == "CONNECT" {
            let Ok(server) = self.reach(target) else {
                return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
            };
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
            return both_ways(client, server);
        }
        let rest = target.strip_prefix("http://").unwrap_or_default();
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let Ok(mut server) = self.reach(host) else {
            return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
        };
        write!(server, "{method} /{path} {version}\r\n")?;
        server.write_all(head.split_once("\r\n").map_or("", |(_, rest)| rest).as_bytes())?;
        both_ways(client, server)
    }

    fn reach(&self, host: &str) -> std::io::Result<TcpStream> {
        let names = lock(&self.names);
        let named = names.iter().find(|(name, _)| name == host || Some(name.as_str()) == host.strip_suffix(":443"));
        match named {
            Some((_, port)) => TcpStream::connect(("127.0.0.1", *port)),
            None => TcpStream::connect(host),
        }
    }
}

/// Reads to the end of the headers, and not a byte further.
fn head(client: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte)? == 1 {
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn both_ways(client: TcpStream, server: TcpStream) -> std::io::Result<()> {
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        drop(std::io::copy(&mut from_client, &mut to_server));
        drop(to_server.shutdown(Shutdown::Write));
    });
    let (mut from_server, mut to_client) = (server, client);
    drop(std::io::copy(&mut from_server, &mut to_client));
    to_client.shutdown(Shutdown::Both)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
