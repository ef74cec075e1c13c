//! Logs on stderr: what `TIDELOCK_LOG` lets through, as text or JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::error::{CliError, Kind};

/// The environment variable that holds the filter, such as `info` or `tidelock_host=debug`.
const FILTER: &str = "TIDELOCK_LOG";

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: a JSON object per line.
    Json,
}

/// Starts the log. Without a filter warnings alone are shown: results have their own way
/// out. A daemon has none, and says what it does.
pub(crate) fn start(format: LogFormat, daemon: bool) -> Result<(), CliError> {
    let mut spans = FmtSpan::CLOSE;
    let filter = match std::env::var(FILTER) {
        Ok(filter) if !filter.is_empty() => EnvFilter::try_new(&filter).map_err(|error| {
            CliError::new(Kind::Usage, format!("${FILTER} is {filter:?}, which is no filter: {error}"))
                .hint("write a level or target=level, such as info or tidelock_host=debug")
        })?,
        _ if daemon => {
            // How long each of thousands of looks took is for whoever asks.
            spans = FmtSpan::NONE;
            EnvFilter::new("info")
        }
        _ => EnvFilter::new("warn"),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_span_events(spans);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
