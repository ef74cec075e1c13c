//! What a PostgreSQL server may send: no message that is larger than anybody could be handed,
//! and, while we sign in, no demand for the password itself.
//!
//! The driver reads a message whole before it shows any of it, and answers whatever a server
//! asks for. So both are judged here, by the first bytes of each message.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

/// The largest message, in bytes: as much as one call of a plugin may move.
pub(super) const MAX_MESSAGE: u32 = 16 << 20;
/// How the error of a server that asks for the password itself begins.
pub(super) const ASKED: &str = "the server asks for the password itself";

/// Type and length of a message; of a demand to prove who we are, its kind too.
const HEAD: usize = 5;
const HEAD_AND_KIND: usize = 9;
/// Kinds of such demands: the password as it is, and its MD5.
const AS_IT_IS: u32 = 3;
const AS_MD5: u32 = 5;

/// What is let through, and what was met.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// Whether the password may be given as it is.
    pub(super) give_password: bool,
    /// Whether a message was too large.
    pub(super) too_large: Arc<AtomicBool>,
}

/// A stream from a server, watched.
pub(super) struct Watched<S> {
    inner: S,
    rules: Rules,
    head: [u8; HEAD_AND_KIND],
    have: usize,
    /// Bytes of a message that are still to come.
    left: usize,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, rules: Rules) -> Self {
        Self { inner, rules, head: [0; HEAD_AND_KIND], have: 0, left: 0 }
    }

    fn watch(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let wanted = if self.have >= HEAD { HEAD_AND_KIND } else { HEAD };
            let taken = (wanted - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have < wanted {
                return Ok(());
            }
            self.judge()?;
        }
        Ok(())
    }

    /// Judges a head that is whole.
    fn judge(&mut self) -> io::Result<()> {
        let number =
            |at: usize| u32::from_be_bytes([self.head[at], self.head[at + 1], self.head[at + 2], self.head[at + 3]]);
        let length = number(1);
        if self.have == HEAD {
            if length > MAX_MESSAGE {
                self.rules.too_large.store(true, Ordering::Release);
                return Err(io::Error::other(format!("a message of {length} bytes; {MAX_MESSAGE} are read")));
            }
            // The length counts itself.
            let Some(body) = length.checked_sub(4) else { return Err(io::Error::other("a message without a length")) };
            if self.head[0] == b'R' && body >= 4 {
                return Ok(());
            }
            self.left = body as usize;
        } else {
            if matches!(number(HEAD), AS_IT_IS | AS_MD5) && !self.rules.give_password {
                return Err(io::Error::other(format!("{ASKED}, or its MD5, and would then know it")));
            }
            self.left = length as usize - 8;
        }
        self.have = 0;
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        Poll::Ready(self.watch(&buf.filled()[before..]))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Watched<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

/// Watches what comes out of an encrypted connection.
#[derive(Clone)]
pub(super) struct Within<T> {
    pub(super) tls: T,
    pub(super) rules: Rules,
}

impl<T: MakeTlsConnect<Socket>> MakeTlsConnect<Socket> for Within<T>
where
    T::Stream: Unpin,
    T::TlsConnect: Send + 'static,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send + 'static,
{
    type Stream = Watched<T::Stream>;
    type TlsConnect = Within<T::TlsConnect>;
    type Error = T::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, Self::Error> {
        Ok(Within { tls: self.tls.make_tls_connect(host)?, rules: self.rules.clone() })
    }
}

impl<T: TlsConnect<Socket> + Send + 'static> TlsConnect<Socket> for Within<T>
where
    T::Stream: Unpin,
    T::Future: Send + 'static,
{
    type Stream = Watched<T::Stream>;
    type Error = T::Error;
    type Future = BoxFuture<'static, Result<Self::Stream, Self::Error>>;

    fn connect(self, stream: Socket) -> Self::Future {
        let Self { tls, rules } = self;
        let connected = tls.connect(stream);
        Box::pin(async move { Ok(Watched::new(connected.await?, rules)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(give_password: bool) -> Watched<()> {
        Watched::new((), Rules { give_password, too_large: Arc::default() })
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    #[test]
    fn messages_are_told_apart_however_they_come() {
        let fine = [
            message(b'R', &10_u32.to_be_bytes()),
            message(b'R', &[]),
            message(b'S', b"a\0b\0"),
            message(b'D', &[b'R'; 300]),
            message(b'R', &[0, 0, 0, 0]),
        ]
        .concat();
        let asked = [fine.clone(), message(b'R', &AS_IT_IS.to_be_bytes())].concat();
        for size in [1, 2, 3, 7, 64, 10_000] {
            let mut stream = watched(false);
            fine.chunks(size).for_each(|bytes| stream.watch(bytes).unwrap());
            let mut stream = watched(false);
            let ended = asked.chunks(size).try_for_each(|bytes| stream.watch(bytes));
            assert!(ended.unwrap_err().to_string().starts_with(ASKED));
            let mut stream = watched(true);
            asked.chunks(size).for_each(|bytes| stream.watch(bytes).unwrap());
        }
        let md5 = [&AS_MD5.to_be_bytes()[..], b"salt"].concat();
        assert!(watched(false).watch(&message(b'R', &md5)).is_err());
    }

    #[test]
    fn a_message_is_refused_before_it_is_read() {
        let mut stream = watched(false);
        let said = stream.watch(&[b'D', 0x20, 0, 0, 0]).unwrap_err().to_string();
        assert!(said.contains("536870912 bytes") && stream.rules.too_large.load(Ordering::Acquire), "{said}");
        assert!(watched(false).watch(&[b'D', 0, 0, 0, 3]).is_err());
    }
}
