//! SIGINT and SIGTERM during a one-shot command: the first ends what is in hand, records
//! it and leaves; a second leaves at once, and so does the first where nothing is in hand.

use std::pin::pin;
use std::time::Duration;

use tidelock_reconcile::{Ending, Interrupt};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{CliError, Exit, Kind};
use crate::output::Output;
use crate::output::progress::Progress;
use crate::wire;

/// Runs a future to its end, or until a signal says that there is nothing to wait for: then
/// it is dropped, which gives leases back, and the exit code of that signal is returned.
pub(crate) fn block_on<T>(
    interrupt: &Interrupt,
    out: Output,
    progress: &Progress,
    future: impl Future<Output = T>,
) -> Result<Result<T, Exit>, CliError> {
    let threads = wire::threads()?;
    let ended = threads.block_on(async {
        let (mut int, mut term) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        let mut future = pin!(future);
        loop {
            let kind = tokio::select! {
                ended = &mut future => return Ok(Ok(ended)),
                _ = int.recv() => SignalKind::interrupt(),
                _ = term.recv() => SignalKind::terminate(),
            };
            match interrupt.ask() {
                Ending::Soon => {
                    progress.clear();
                    out.remark("Ending: what is in hand is finished and recorded. Once more leaves at once.");
                }
                Ending::Now => return Ok(Err(Exit::Signalled(kind.as_raw_value()))),
            }
        }
    });
    // Not waited for: a person who asks twice does not want to, and a prompt never ends.
    threads.shutdown_background();
    ended
}

/// Does something again and again, until a signal says to end or it fails.
pub(crate) fn until_told(every: Duration, mut step: impl FnMut() -> Result<(), CliError>) -> Result<(), CliError> {
    wire::block_on(async {
        let (mut int, mut term) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        loop {
            step()?;
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                _ = int.recv() => return Ok(()),
                _ = term.recv() => return Ok(()),
            }
        }
    })?
}

fn listen(kind: SignalKind) -> Result<Signal, CliError> {
    signal(kind).map_err(|error| CliError::new(Kind::Io, format!("cannot listen for signals: {error}")))
}
