//! Git over HTTP for tests: a small CGI server around the real `git http-backend`.
//!
//! One thread per connection, one request per connection, loopback only. It counts
//! requests, can ask for a password or token, and can be told to misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How the server treats what `git http-backend` answers to the request for a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answer {
    /// Hands it on.
    #[default]
    Whole,
    /// Sends the first so many bytes, and closes.
    Cut(usize),
    /// Flips one bit so many bytes into the pack.
    Flip(usize),
    /// Sends the first so many bytes, and then nothing more.
    Stall(usize),
}

/// Every repository below a folder, served until dropped.
#[derive(Debug)]
pub struct GitHttp {
    port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    root: PathBuf,
    authorization: Mutex<Option<String>>,
    answer: Mutex<Answer>,
    redirect: Mutex<Option<String>>,
    requests: AtomicUsize,
    packs: AtomicUsize,
    headers: Mutex<Vec<String>>,
    closing: AtomicBool,
}

impl GitHttp {
    /// Serves the repositories below `root` on a free port of the loopback.
    ///
    /// # Panics
    /// No port can be had.
    #[must_use]
    pub fn serve(root: &Path) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port on the loopback");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared { root: root.to_owned(), ..Shared::default() });
        let ours = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ours.closing.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let ours = Arc::clone(&ours);
                // A client that goes away in mid-request is no fault of the server.
                std::thread::spawn(move || drop(ours.serve(&stream)));
            }
        });
        Self { port, shared, accepting: Some(accepting) }
    }

    /// The address of the folder; a repository's path follows.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on wants this user and password.
    pub fn require_basic(&self, user: &str, password: &str) {
        let value = format!("Basic {}", base64(format!("{user}:{password}").as_bytes()));
        *lock(&self.shared.authorization) = Some(value);
    }

    /// From now on wants this bearer token.
    pub fn require_token(&self, token: &str) {
        *lock(&self.shared.authorization) = Some(format!("Bearer {token}"));
    }

    /// From now on treats packs so.
    pub fn answer(&self, answer: Answer) {
        *lock(&self.shared.answer) = answer;
    }

    /// From now on redirects every request to the same path below another address.
    pub fn redirect(&self, to: &str) {
        *lock(&self.shared.redirect) = Some(to.to_owned());
    }

    /// How many requests came.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// How many of them were answered with a pack.
    #[must_use]
    pub fn packs(&self) -> usize {
        self.shared.packs.load(Ordering::SeqCst)
    }

    /// Every header line of every request.
    #[must_use]
    pub fn headers(&self) -> Vec<String> {
        lock(&self.shared.headers).clone()
    }
}

impl Drop for GitHttp {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then sees the flag.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut out = stream.try_clone()?;
        let request = read_request(BufReader::new(stream))?;
        self.requests.fetch_add(1, Ordering::SeqCst);
        lock(&self.headers).extend(request.headers.iter().map(|(name, value)| format!("{name}: {value}")));

        let redirect = lock(&self.redirect).clone();
        if let Some(to) = redirect {
            let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
            let location = format!("Location: {to}{}{query}\r\n", request.path);
            return reply(&mut out, "302 Found", &location, b"");
        }
        let wanted = lock(&self.authorization).clone();
        if wanted.is_some_and(|wanted| wanted != request.header("authorization")) {
            return reply(&mut out, "401 Unauthorized", "WWW-Authenticate: Basic realm=\"git\"\r\n", b"");
        }
        if request.path.split('/').any(|part| part == "..") {
            return reply(&mut out, "403 Forbidden", "", b"");
        }
        let (status, headers, body) = self.backend(&request)?;
        // In protocol 2 a fetch's answer begins with the section that it is in.
        let is_pack = request.body.windows(13).any(|part| part == b"command=fetch")
            && body.windows(4).any(|part| part == b"PACK");
        if is_pack {
            self.packs.fetch_add(1, Ordering::SeqCst);
        }
        let answer = if is_pack { *lock(&self.answer) } else { Answer::Whole };
        match answer {
            Answer::Whole => reply(&mut out, &status, &headers, &body),
            Answer::Flip(within) => {
                let mut body = body;
                // Progress may stand before and after the pack, so its own beginning counts.
                let pack = body.windows(4).position(|part| part == b"PACK").unwrap_or_default();
                if let Some(byte) = body.get_mut(pack + within) {
                    *byte ^= 0x10;
                }
                reply(&mut out, &status, &headers, &body)
            }
            Answer::Cut(most) => {
                // Without a length, the end of the connection is the end of the body.
                write!(out, "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n")?;
                out.write_all(&body[..most.min(body.len())])?;
                out.shutdown(Shutdown::Both)
            }
            Answer::Stall(most) => {
                write!(out, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len())?;
                out.write_all(&body[..most.min(body.len())])?;
                out.flush()?;
                while !self.closing.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Ok(())
            }
        }
    }

    /// Runs `git http-backend`; gives status, headers and body.
    fn backend(&self, request: &Request) -> std::io::Result<(String, String, Vec<u8>)> {
        let mut child = Command::new("git")
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", &self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*")
            .env("REQUEST_METHOD", &request.method)
            .env("PATH_INFO", &request.path)
            .env("QUERY_STRING", &request.query)
            .env("CONTENT_TYPE", request.header("content-type"))
            .env("CONTENT_LENGTH", request.body.len().to_string())
            .env("HTTP_CONTENT_ENCODING", request.header("content-encoding"))
            .env("GIT_PROTOCOL", request.header("git-protocol"))
            .env("REMOTE_ADDR", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdin = child.stdin.take();
        let body = request.body.clone();
        // A thread of its own: git may answer before it has read everything.
        let writing = std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&body)));
        let mut all = Vec::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_end(&mut all)?;
        }
        drop(writing.join());
        child.wait()?;
        let end = all.windows(4).position(|part| part == b"\r\n\r\n").unwrap_or(all.len());
        let head = String::from_utf8_lossy(&all[..end]).into_owned();
        let body = all.get(end + 4..).unwrap_or_default().to_vec();
        let mut status = "200 OK".to_owned();
        let mut headers = String::new();
        for line in head.lines() {
            match line.strip_prefix("Status: ") {
                Some(given) => given.clone_into(&mut status),
                None => {
                    headers.push_str(line);
                    headers.push_str("\r\n");
                }
            }
        }
        Ok((status, headers, body))
    }
}

fn read_request(mut reader: impl BufRead) -> std::io::Result<Request> {
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut parts = first.split_whitespace();
    let (method, target) = (parts.next().unwrap_or_default().to_owned(), parts.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut request = Request { method, path, query, headers, body: Vec::new() };
    if request.header("transfer-encoding").eq_ignore_ascii_case("chunked") {
        request.body = read_chunks(reader)?;
    } else {
        let length = request.header("content-length").parse().unwrap_or(0);
        reader.take(length).read_to_end(&mut request.body)?;
    }
    Ok(request)
}

fn read_chunks(mut reader: impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = u64::from_str_radix(line.trim(), 16).unwrap_or(0);
        reader.by_ref().take(length).read_to_end(&mut body)?;
        // The line end after each chunk.
        reader.read_line(&mut line)?;
        if length == 0 {
            return Ok(body);
        }
    }
}

fn reply(out: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    write!(out, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len())?;
    out.write_all(body)?;
    out.flush()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Base64, so that the server needs nothing but the standard library.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}
