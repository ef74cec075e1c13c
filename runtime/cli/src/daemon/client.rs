//! How a command reaches a running daemon. There need not be one: what a command has to
//! say is in the store by then, and a daemon finds it at its next look at the latest.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tidelock_model::hold::Scope;

use super::wire::{Answer, LONGEST, Request};
use crate::config::Loaded;

/// How long a daemon may take to answer. It only takes a note.
const PATIENCE: Duration = Duration::from_secs(2);

/// Wakes a running daemon to look at lanes now. Whether there is one that heard.
pub(crate) fn wake(loaded: &Loaded, scope: &Scope) -> bool {
    match ask(loaded, &Request::Look { scope: scope.clone() }) {
        Ok(Answer::Taken { .. }) => true,
        Ok(Answer::Refused { why }) => {
            tracing::warn!(why, "the daemon was not woken");
            false
        }
        Err(error) => {
            tracing::debug!(%error, "no daemon was woken");
            false
        }
    }
}

fn ask(loaded: &Loaded, request: &Request) -> std::io::Result<Answer> {
    let mut stream = UnixStream::connect(loaded.socket())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream.take(LONGEST as u64)).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}
