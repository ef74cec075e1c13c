//! Requests to a daemon that listens for HTTP, byte by byte where a case wants that, and
//! the figures that it shows.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was answered.
#[derive(Debug)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// Lines of the header, in lower case up to the colon.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

impl Answered {
    /// Reads an answer to its end.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    pub fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        // Who was sent away with half a request unread may be cut off behind the answer.
        let end = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{end:?}: no answer: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Self { status, headers, body: body.to_owned() }
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Opens a connection.
///
/// # Panics
/// Nobody listens.
#[must_use]
pub fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.set_write_timeout(Some(PATIENCE)).expect("a time-out");
    stream
}

/// Asks, and reads the answer.
///
/// # Panics
/// There is none.
#[must_use]
pub fn ask(at: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answered {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {at}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let mut stream = connect(at);
    stream.write_all(request.as_bytes()).expect("the header is taken");
    // An answer may come before all of the body is read.
    drop(stream.write_all(body.as_bytes()));
    Answered::read(&mut stream)
}

/// Asks for something.
#[must_use]
pub fn get(at: SocketAddr, path: &str) -> Answered {
    ask(at, "GET", path, &[], "")
}

/// The figures of a daemon: each series, by its name and labels as written, with its value.
///
/// # Panics
/// A line is not of the Prometheus text format, or a series is there twice.
#[must_use]
pub fn figures(at: SocketAddr) -> BTreeMap<String, f64> {
    let answered = get(at, "/metrics");
    assert_eq!(answered.status, 200, "{answered:?}");
    let mut figures = BTreeMap::new();
    let mut typed = BTreeMap::new();
    for line in answered.body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let words: Vec<&str> = comment.splitn(3, ' ').collect();
            assert!(matches!(words[..], ["HELP" | "TYPE", _, _]), "{line}");
            if words[0] == "TYPE" {
                assert!(typed.insert(words[1].to_owned(), words[2].to_owned()).is_none(), "twice: {line}");
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no figure: {line:?}"));
        let name = series.split('{').next().unwrap_or_default();
        let plain = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(typed.contains_key(name) || typed.contains_key(plain), "a series without a type: {line}");
        let value = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(figures.insert(series.to_owned(), value).is_none(), "twice: {line}");
    }
    figures
}

/// The sum over all series of a name.
#[must_use]
pub fn sum(figures: &BTreeMap<String, f64>, name: &str) -> f64 {
    figures.iter().filter(|(series, _)| series.split('{').next() == Some(name)).map(|(_, value)| value).sum()
}
